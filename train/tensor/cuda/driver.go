package cuda

import (
	"fmt"
	"unsafe"
)

// driver are the functions of libcuda that are used, in the versions of their names that CUDA 11 and later have.
type driver struct {
	path string

	init, driverVersion                             function
	deviceCount, deviceGet, deviceName, deviceTotal function
	deviceAttribute                                 function
	contextRetain, contextRelease, contextSet       function
	alloc, free, memInfo, hostAlloc, hostFree       function
	copyIn, copyOut, copyWithin, set8               function
	streamCreate, streamSync, streamDestroy         function
	eventCreate, eventRecord, eventSync             function
	eventDestroy                                    function
	moduleLoad, moduleFunction, moduleUnload        function
	functionSet, functionGet, launchKernel          function
	errorName, errorString                          function
}

func openDriver(path string) (*driver, error) {
	library, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	d := &driver{path: path}
	return d, bind(library, path, map[string]*function{
		"cuInit": &d.init, "cuDriverGetVersion": &d.driverVersion,
		"cuDeviceGetCount": &d.deviceCount, "cuDeviceGet": &d.deviceGet, "cuDeviceGetName": &d.deviceName,
		"cuDeviceTotalMem_v2": &d.deviceTotal, "cuDeviceGetAttribute": &d.deviceAttribute,
		"cuDevicePrimaryCtxRetain": &d.contextRetain, "cuDevicePrimaryCtxRelease_v2": &d.contextRelease,
		"cuCtxSetCurrent": &d.contextSet,
		"cuMemAlloc_v2":   &d.alloc, "cuMemFree_v2": &d.free, "cuMemGetInfo_v2": &d.memInfo,
		"cuMemHostAlloc": &d.hostAlloc, "cuMemFreeHost": &d.hostFree,
		"cuMemcpyHtoDAsync_v2": &d.copyIn, "cuMemcpyDtoHAsync_v2": &d.copyOut, "cuMemcpyDtoDAsync_v2": &d.copyWithin,
		"cuMemsetD8Async": &d.set8,
		"cuStreamCreate":  &d.streamCreate, "cuStreamSynchronize": &d.streamSync, "cuStreamDestroy_v2": &d.streamDestroy,
		"cuEventCreate": &d.eventCreate, "cuEventRecord": &d.eventRecord, "cuEventSynchronize": &d.eventSync,
		"cuEventDestroy_v2": &d.eventDestroy,
		"cuModuleLoadData":  &d.moduleLoad, "cuModuleGetFunction": &d.moduleFunction, "cuModuleUnload": &d.moduleUnload,
		"cuFuncSetAttribute": &d.functionSet, "cuFuncGetAttribute": &d.functionGet, "cuLaunchKernel": &d.launchKernel,
		"cuGetErrorName": &d.errorName, "cuGetErrorString": &d.errorString,
	})
}

// resultError is a failed call of the driver.
type resultError struct {
	call, name, text string
	code             int32
}

func (e *resultError) Error() string {
	return fmt.Sprintf("%s: %s (%d, %s)", e.call, e.name, e.code, e.text)
}

// cudaOutOfMemory is the result for an allocation that does not fit.
const cudaOutOfMemory = 2

// check turns the result of f into an error.
func (d *driver) check(f function, code int32) error {
	if code == 0 {
		return nil
	}
	e := &resultError{call: f.name, code: code, name: "CUDA_ERROR_?", text: "unknown to the driver"}
	var text *byte
	if d.errorName.call(uintptr(code), uintptr(unsafe.Pointer(&text))) == 0 && text != nil {
		e.name = goString(text)
	}
	text = nil
	if d.errorString.call(uintptr(code), uintptr(unsafe.Pointer(&text))) == 0 && text != nil {
		e.text = goString(text)
	}
	return e
}

// launch queues a kernel whose parameters the pointers lead to.
func (d *driver) launch(fn uintptr, on dims, stream uintptr, params *[paramsMax]unsafe.Pointer) error {
	return d.check(d.launchKernel, d.launchKernel.call(fn,
		uintptr(on.grid[0]), uintptr(on.grid[1]), uintptr(on.grid[2]),
		uintptr(on.block[0]), uintptr(on.block[1]), uintptr(on.block[2]),
		uintptr(on.shared), stream, uintptr(unsafe.Pointer(params)), 0))
}
