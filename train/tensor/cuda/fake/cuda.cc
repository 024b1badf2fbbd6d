// A libcuda whose device is the processor: memory is the process's own, with guard bytes around each
// allocation and NaN in it, kernels are libraries made by the fake libnvrtc. Work is done when it is queued or, with the
// setting async, not before somebody waits: then what is read too early is NaN, and what is overwritten too early shows.
//
// Settings are taken from the environment, FAKE_CUDA_ and the upper-case name, or set with fakeSet:
//
//	devices           number of devices: 1
//	driver            version of the driver: 12090
//	arch              compute capability: 90
//	memory            bytes: 8 GiB
//	lose_at_launch    the launch, counted from 1, at which the device is lost: never
//	fail_at_call      the call that needs a context, counted from 1, that fails: none
//	fail_at_alloc     the allocation, counted from 1, that finds no memory: none
//	order             1 runs blocks and threads in reverse: 0
//	workers           threads of the operating system: one a core
//	async             1 does queued work when it is waited for: 0
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>
#include "launch.h"

#define API extern "C" __attribute__((visibility("default")))

enum Result {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
    ILLEGAL_ADDRESS = 700, LAUNCH_OUT_OF_RESOURCES = 701, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801,
    UNKNOWN = 999
};

struct Setting { const char *name; long long value; };
static Setting settings[] = {{"devices", 1}, {"driver", 12090}, {"arch", 90}, {"memory", 8ll << 30}, {"lose_at_launch", 0},
                             {"fail_at_alloc", 0}, {"order", 0}, {"workers", 0}, {"async", 0}, {"fail_at_call", 0}};
enum { DEVICES, DRIVER, ARCH, MEMORY, LOSE, FAIL_ALLOC, ORDER, WORKERS, ASYNC, FAIL_CALL };

struct Allocation { size_t bytes; bool host; };
struct Module { void *library; const bz_entry *entries; int (*run)(bz_launch *, unsigned); };
struct Function { Module *module; const bz_entry *entry; unsigned dynamic; unsigned long long launches; };
struct Stream { uint64_t magic; };
struct Event { uint64_t magic; double ms; bool recorded; };

enum { GUARD = 512, GUARD_BYTE = 0xa5, DEFAULT_SHARED = 48 << 10 };
static const uint64_t alive = 0x57eaed0057eaed00ull;

static std::recursive_mutex lock;
static std::map<uintptr_t, Allocation> memory; // by first address
static std::map<const bz_entry *, Function *> functions;
static size_t used, peak;
static unsigned long long launches, allocations, calls;
static bool initialized;
static int contextUsers;
static int context; // its address is the handle
static thread_local void *current;
static Result lost; // what every call returns after a fault
static std::string message;

#define LOCKED std::lock_guard<std::recursive_mutex> hold(lock)
#define NEEDS_CONTEXT \
    LOCKED; \
    if (lost) return lost; \
    if (!initialized) return NOT_INITIALIZED; \
    if (current != &context) return INVALID_CONTEXT; \
    if (++calls == (unsigned long long)settings[FAIL_CALL].value) return UNKNOWN

static void readSettings() {
    for (Setting &s : settings) {
        std::string key = std::string("FAKE_CUDA_") + s.name;
        for (char &c : key) c = c >= 'a' && c <= 'z' ? c - 32 : c;
        if (const char *v = getenv(key.c_str())) s.value = atoll(v);
    }
}
__attribute__((constructor)) static void start() { readSettings(); }

// fakeCount says how many launches, allocations or calls that need a context there were, how many bytes are in use or
// were at most, or how many allocations there are.
API long long fakeCount(const char *name) {
    LOCKED;
    if (!strcmp(name, "launches")) return launches;
    if (!strcmp(name, "allocations")) return allocations;
    if (!strcmp(name, "calls")) return calls;
    if (!strcmp(name, "used")) return used;
    if (!strcmp(name, "peak")) return peak;
    return !strcmp(name, "live") ? (long long)memory.size() : -1;
}

// fakeMessage writes what the last fault was, n bytes at most.
API void fakeMessage(char *to, size_t n) { snprintf(to, n, "%s", message.c_str()); }

// fakeLetters are a kernel's arguments, a letter each: see bz_letter in shim.h.
API const char *fakeLetters(Function *f) { return f->entry->letters; }

static Result fault(Result r, const std::string &what) {
    message = what;
    fprintf(stderr, "fake card: %s\n", what.c_str());
    return lost = r;
}

static std::deque<std::function<int()>> queue;

// flush does what is queued, up to the first fault.
static int flush() {
    while (!queue.empty() && !lost) {
        std::function<int()> work = std::move(queue.front());
        queue.pop_front();
        if (int r = work())
            if (!lost) fault((Result)r, "work that was queued fails");
    }
    queue.clear();
    return lost;
}

static int enqueue(std::function<int()> work) {
    if (!settings[ASYNC].value) return work();
    queue.push_back(work);
    return OK;
}

// fakeEnqueue is how other libraries queue work.
API int fakeEnqueue(int (*work)(void *), void *data) {
    LOCKED;
    return enqueue([=] { return work(data); });
}

// fakeSet changes a setting; the number of launches, allocations and calls is then counted anew, and a lost device is back.
API int fakeSet(const char *name, long long value) {
    LOCKED;
    flush();
    launches = allocations = calls = 0;
    lost = OK;
    for (Setting &s : settings)
        if (!strcmp(s.name, name)) return s.value = value, OK;
    return NOT_FOUND;
}

// ---------------------------------------------------------------- devices and contexts

API int cuInit(unsigned flags) {
    LOCKED;
    if (flags) return INVALID_VALUE;
    if (settings[DEVICES].value == 0) return NO_DEVICE;
    return initialized = true, OK;
}
API int cuDriverGetVersion(int *v) { return *v = (int)settings[DRIVER].value, OK; }
API int cuDeviceGetCount(int *n) { return initialized ? (*n = (int)settings[DEVICES].value, OK) : NOT_INITIALIZED; }
API int cuDeviceGet(int *device, int n) {
    if (!initialized) return NOT_INITIALIZED;
    return n >= 0 && n < settings[DEVICES].value ? (*device = n, OK) : INVALID_DEVICE;
}
API int cuDeviceGetName(char *to, int n, int device) { return snprintf(to, n, "Fake card %d", device), OK; }
API int cuDeviceTotalMem_v2(size_t *n, int) { return *n = settings[MEMORY].value, OK; }
API int cuDeviceGetUuid_v2(unsigned char *id, int device) { return memset(id, device + 1, 16), OK; }
API int cuDeviceGetUuid(unsigned char *id, int device) { return cuDeviceGetUuid_v2(id, device); }
API int cuDeviceGetPCIBusId(char *to, int n, int device) { return snprintf(to, n, "0000:%02x:00.0", device + 1), OK; }

static int largestShared() {
    int arch = (int)settings[ARCH].value;
    return (arch >= 90 && arch < 120 ? 227 : arch == 80 ? 163 : 99) << 10;
}

API int cuDeviceGetAttribute(int *v, int attribute, int) {
    int arch = (int)settings[ARCH].value;
    switch (attribute) {
    case 1: *v = 1024; break;             // threads of a block
    case 2: case 3: *v = 1024; break;     // of it along x, y
    case 4: *v = 64; break;               // z
    case 5: *v = 0x7fffffff; break;       // of a grid along x
    case 6: case 7: *v = 65535; break;    // y, z
    case 8: *v = DEFAULT_SHARED; break;   // shared memory of a block
    case 10: *v = 32; break;              // warp
    case 12: *v = 65536; break;           // registers of a block
    case 13: *v = 1000000; break;         // clock, kHz
    case 16: *v = 4; break;               // multiprocessors
    case 18: *v = 0; break;               // integrated
    case 36: *v = 1000000; break;         // memory clock, kHz
    case 37: *v = 5120; break;            // memory bus, bits
    case 38: *v = 4 << 20; break;         // L2 cache
    case 39: *v = 2048; break;            // threads of a multiprocessor
    case 41: *v = 1; break;               // unified addressing
    case 75: *v = arch / 10; break;
    case 76: *v = arch % 10; break;
    case 81: *v = largestShared() + 1024; break;
    case 97: *v = largestShared(); break; // shared memory of a block that asks for it
    case 115: *v = 1; break;              // pools of memory
    default: return INVALID_VALUE;
    }
    return OK;
}

API int cuDevicePrimaryCtxRetain(void **c, int device) {
    LOCKED;
    if (!initialized) return NOT_INITIALIZED;
    if (device < 0 || device >= settings[DEVICES].value) return INVALID_DEVICE;
    return contextUsers++, *c = &context, OK;
}
API int cuDevicePrimaryCtxRelease_v2(int) {
    LOCKED;
    return contextUsers > 0 ? (contextUsers--, OK) : INVALID_CONTEXT;
}
API int cuCtxSetCurrent(void *c) { return c && c != &context ? INVALID_CONTEXT : (current = c, OK); }
API int cuCtxGetCurrent(void **c) { return *c = current, OK; }
API int cuCtxPushCurrent_v2(void *c) { return cuCtxSetCurrent(c); }
API int cuCtxPopCurrent_v2(void **c) { return *c = current, current = nullptr, OK; }

// ---------------------------------------------------------------- memory

static bool intact(uintptr_t at) {
    const unsigned char *p = (const unsigned char *)at;
    for (int i = 0; i < GUARD; i++)
        if (p[i] != GUARD_BYTE) return false;
    return true;
}

static Result checkGuards() {
    for (auto &m : memory) {
        bool before = intact(m.first - GUARD), after = intact(m.first + m.second.bytes);
        if (before && after) continue;
        memset((void *)(m.first - GUARD), GUARD_BYTE, GUARD); // so that it is said once
        memset((void *)(m.first + m.second.bytes), GUARD_BYTE, GUARD);
        return fault(ILLEGAL_ADDRESS, std::string("a write ") + (before ? "past" : "before") + " an allocation of " +
                                          std::to_string(m.second.bytes) + " bytes");
    }
    return OK;
}

static Result allocate(uintptr_t *at, size_t bytes, bool host) {
    if (bytes == 0) return INVALID_VALUE;
    if (!host && ++allocations == (unsigned long long)settings[FAIL_ALLOC].value) return OUT_OF_MEMORY;
    if (!host && used + bytes > (size_t)settings[MEMORY].value) return OUT_OF_MEMORY;
    size_t whole = (bytes + 2 * GUARD + 511) / 512 * 512;
    char *p = (char *)aligned_alloc(512, whole);
    if (!p) return OUT_OF_MEMORY;
    memset(p, GUARD_BYTE, GUARD);
    memset(p + GUARD, 0xff, bytes);
    memset(p + GUARD + bytes, GUARD_BYTE, whole - GUARD - bytes);
    *at = (uintptr_t)p + GUARD;
    memory[*at] = {bytes, host};
    if (!host) used += bytes, peak = used > peak ? used : peak;
    return OK;
}

static Result release(uintptr_t at, bool host) {
    auto m = memory.find(at);
    if (m == memory.end() || m->second.host != host) return INVALID_VALUE;
    Result r = checkGuards();
    if (!host) used -= m->second.bytes;
    memset((void *)at, 0xff, m->second.bytes);
    free((void *)(at - GUARD));
    memory.erase(m);
    return r;
}

// within says whether n bytes from at on lie in one allocation of the device, or of the host.
static bool within(uintptr_t at, size_t n, bool host) {
    auto m = memory.upper_bound(at);
    if (m == memory.begin()) return false;
    --m;
    return m->second.host == host && at >= m->first && at + n <= m->first + m->second.bytes;
}
static bool device(uintptr_t at, size_t n) { return within(at, n, false); }
static bool pinned(uintptr_t at, size_t n) { return within(at, n, true); }

API int cuMemAlloc_v2(uintptr_t *at, size_t bytes) { NEEDS_CONTEXT; return allocate(at, bytes, false); }
API int cuMemFree_v2(uintptr_t at) { NEEDS_CONTEXT; return flush() ? lost : at ? release(at, false) : OK; }
API int cuMemAllocAsync(uintptr_t *at, size_t bytes, void *) { return cuMemAlloc_v2(at, bytes); }
API int cuMemFreeAsync(uintptr_t at, void *) { return cuMemFree_v2(at); }
API int cuMemAllocHost_v2(void **at, size_t bytes) { NEEDS_CONTEXT; return allocate((uintptr_t *)at, bytes, true); }
API int cuMemHostAlloc(void **at, size_t bytes, unsigned) { return cuMemAllocHost_v2(at, bytes); }
API int cuMemFreeHost(void *at) { NEEDS_CONTEXT; return flush() ? lost : release((uintptr_t)at, true); }
API int cuMemGetInfo_v2(size_t *free, size_t *total) {
    NEEDS_CONTEXT;
    return *total = settings[MEMORY].value, *free = *total - used, OK;
}

// Copies that are not asynchronous do not wait for streams that are not blocking, and so find work of those not done.
static Result copy(void *to, const void *from, size_t n, bool ok) {
    if (n == 0) return OK;
    if (!ok) return INVALID_VALUE;
    return memmove(to, from, n), OK;
}
API int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t n) {
    NEEDS_CONTEXT;
    return copy((void *)to, from, n, device(to, n));
}
API int cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t n) {
    NEEDS_CONTEXT;
    return copy(to, (void *)from, n, device(from, n));
}
API int cuMemcpyDtoD_v2(uintptr_t to, uintptr_t from, size_t n) {
    NEEDS_CONTEXT;
    return copy((void *)to, (void *)from, n, device(to, n) && device(from, n));
}

// Asynchronous copies of memory that is not pinned are done before they return; a destination that is holds NaN until then.
API int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t n, void *) {
    NEEDS_CONTEXT;
    if (n && !device(to, n)) return INVALID_VALUE;
    int r = enqueue([=] { return copy((void *)to, from, n, true); });
    return pinned((uintptr_t)from, n) ? r : flush();
}
API int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t n, void *) {
    NEEDS_CONTEXT;
    if (n && !device(from, n)) return INVALID_VALUE;
    if (pinned((uintptr_t)to, n)) memset(to, 0xff, n);
    int r = enqueue([=] { return copy(to, (void *)from, n, true); });
    return pinned((uintptr_t)to, n) ? r : flush();
}
API int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *) {
    NEEDS_CONTEXT;
    if (n && !(device(to, n) && device(from, n))) return INVALID_VALUE;
    return enqueue([=] { return copy((void *)to, (void *)from, n, true); });
}

template <class T> static int fill(uintptr_t at, T v, size_t n, bool later) {
    NEEDS_CONTEXT;
    if (n == 0) return OK;
    if (!device(at, n * sizeof(T)) || at % sizeof(T)) return INVALID_VALUE;
    auto work = [=] {
        for (size_t i = 0; i < n; i++) ((T *)at)[i] = v;
        return OK;
    };
    return later ? enqueue(work) : work();
}
API int cuMemsetD8_v2(uintptr_t at, unsigned char v, size_t n) { return fill(at, v, n, false); }
API int cuMemsetD16_v2(uintptr_t at, unsigned short v, size_t n) { return fill(at, v, n, false); }
API int cuMemsetD32_v2(uintptr_t at, unsigned v, size_t n) { return fill(at, v, n, false); }
API int cuMemsetD8Async(uintptr_t at, unsigned char v, size_t n, void *) { return fill(at, v, n, true); }
API int cuMemsetD16Async(uintptr_t at, unsigned short v, size_t n, void *) { return fill(at, v, n, true); }
API int cuMemsetD32Async(uintptr_t at, unsigned v, size_t n, void *) { return fill(at, v, n, true); }

// ---------------------------------------------------------------- streams and events

static bool valid(Stream *s) { return (uintptr_t)s <= 2 || s->magic == alive; } // 0 to 2: the default streams
static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

API int cuStreamCreate(Stream **s, unsigned) { NEEDS_CONTEXT; return *s = new Stream{alive}, OK; }
API int cuStreamCreateWithPriority(Stream **s, unsigned flags, int) { return cuStreamCreate(s, flags); }
API int cuStreamDestroy_v2(Stream *s) {
    NEEDS_CONTEXT;
    return flush() ? lost : s && valid(s) ? (s->magic = 0, delete s, OK) : INVALID_HANDLE;
}
static int wait() { return flush() ? lost : checkGuards(); }
API int cuStreamSynchronize(Stream *s) { NEEDS_CONTEXT; return valid(s) ? wait() : INVALID_HANDLE; }
API int cuStreamQuery(Stream *s) {
    NEEDS_CONTEXT;
    return !valid(s) ? INVALID_HANDLE : queue.empty() ? OK : NOT_READY;
}
API int cuStreamWaitEvent(Stream *s, Event *e, unsigned) {
    NEEDS_CONTEXT;
    return valid(s) && e->magic == alive ? OK : INVALID_HANDLE;
}
API int cuCtxSynchronize() { NEEDS_CONTEXT; return wait(); }
API int cuEventCreate(Event **e, unsigned) { NEEDS_CONTEXT; return *e = new Event{alive, 0, false}, OK; }
API int cuEventDestroy_v2(Event *e) {
    NEEDS_CONTEXT;
    return flush() ? lost : e->magic == alive ? (e->magic = 0, delete e, OK) : INVALID_HANDLE;
}
API int cuEventRecord(Event *e, Stream *s) {
    NEEDS_CONTEXT;
    if (!valid(s) || e->magic != alive) return INVALID_HANDLE;
    e->recorded = false;
    return enqueue([=] { return e->ms = now(), e->recorded = true, OK; });
}
API int cuEventSynchronize(Event *e) { NEEDS_CONTEXT; return e->magic == alive ? flush() : INVALID_HANDLE; }
API int cuEventQuery(Event *e) {
    NEEDS_CONTEXT;
    return e->magic != alive ? INVALID_HANDLE : queue.empty() ? OK : NOT_READY;
}
API int cuEventElapsedTime(float *ms, Event *from, Event *to) {
    NEEDS_CONTEXT;
    return from->recorded && to->recorded ? (*ms = (float)(to->ms - from->ms), OK) : NOT_READY;
}

// ---------------------------------------------------------------- modules and launches

API int cuModuleLoadData(Module **m, const void *image) {
    NEEDS_CONTEXT;
    const bz_image *head = (const bz_image *)image;
    if (memcmp(head->magic, BZ_MAGIC, sizeof head->magic)) return INVALID_IMAGE;
    char path[] = "/tmp/fake-cuda-XXXXXX";
    int fd = mkstemp(path);
    bool ok = fd >= 0;
    for (size_t done = 0; ok && done < head->bytes;) {
        ssize_t n = write(fd, (const char *)(head + 1) + done, head->bytes - done);
        ok = n > 0;
        done += ok ? n : 0;
    }
    ok = fd >= 0 && close(fd) == 0 && ok;
    void *library = ok ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (fd >= 0) unlink(path);
    if (!library) return message = dlerror(), INVALID_IMAGE;
    auto list = (const bz_entry *(*)())dlsym(library, "bz_entries");
    *m = new Module{library, list(), (int (*)(bz_launch *, unsigned))dlsym(library, "bz_launch_run")};
    return OK;
}
API int cuModuleLoadDataEx(Module **m, const void *image, unsigned, int *, void **) { return cuModuleLoadData(m, image); }
API int cuModuleUnload(Module *m) {
    NEEDS_CONTEXT;
    flush();
    for (const bz_entry *e = m->entries; e->name; e++) delete functions[e], functions.erase(e);
    return dlclose(m->library), delete m, OK;
}
API int cuModuleGetFunction(Function **f, Module *m, const char *name) {
    NEEDS_CONTEXT;
    for (const bz_entry *e = m->entries; e->name; e++) {
        if (strcmp(e->name, name)) continue;
        if (!functions[e]) functions[e] = new Function{m, e, DEFAULT_SHARED, 0};
        return *f = functions[e], OK;
    }
    return NOT_FOUND;
}

API int cuFuncSetAttribute(Function *f, int attribute, int value) {
    NEEDS_CONTEXT;
    if (attribute == 9) return OK; // the preferred share of shared memory
    if (attribute != 8 || value < 0 || value > largestShared()) return INVALID_VALUE;
    return f->dynamic = value, OK;
}
API int cuFuncGetAttribute(int *v, int attribute, Function *f) {
    if (attribute == 0) return *v = 1024, OK;
    if (attribute == 8) return *v = f->dynamic, OK;
    return *v = 0, OK;
}

static unsigned workers() {
    long long n = settings[WORKERS].value > 0 ? settings[WORKERS].value : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 16 ? 16 : (unsigned)n;
}

API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, Stream *s, void **args, void **extra) {
    NEEDS_CONTEXT;
    if (!valid(s)) return INVALID_HANDLE;
    unsigned long long threads = (unsigned long long)bx * by * bz;
    if (extra || gx == 0 || gy == 0 || gz == 0 || threads == 0 || threads > 1024 || bz > 64) return INVALID_VALUE;
    if (gx > 0x7fffffffu || gy > 65535 || gz > 65535 || shared > f->dynamic) return INVALID_VALUE;
    bool lose = ++launches == (unsigned long long)settings[LOSE].value;
    bz_launch l = {};
    l.grid = {gx, gy, gz}, l.block = {bx, by, bz}, l.dynamic = shared, l.order = (unsigned)settings[ORDER].value;
    l.call = f->entry->call;
    f->launches++;
    std::vector<uint64_t> values; // the arguments are read now
    for (size_t i = 0; f->entry->letters[i]; i++) {
        values.push_back(0);
        memcpy(&values[i], args[i], strchr("iuf", f->entry->letters[i]) ? 4 : 8);
    }
    return enqueue([=]() mutable -> int {
        if (lose) return fault(LAUNCH_FAILED, "lost, as it was told to be");
        std::vector<void *> pointers;
        for (uint64_t &v : values) pointers.push_back(&v);
        l.args = pointers.data();
        if (f->module->run(&l, workers())) return fault(LAUNCH_FAILED, std::string(f->entry->name) + ": " + l.message);
        return OK;
    });
}

API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, Function *, int, size_t) { return *n = 2, OK; }

// ---------------------------------------------------------------- errors

static const char *name(int r) {
    switch (r) {
    case OK: return "CUDA_SUCCESS";
    case INVALID_VALUE: return "CUDA_ERROR_INVALID_VALUE";
    case OUT_OF_MEMORY: return "CUDA_ERROR_OUT_OF_MEMORY";
    case NOT_INITIALIZED: return "CUDA_ERROR_NOT_INITIALIZED";
    case NO_DEVICE: return "CUDA_ERROR_NO_DEVICE";
    case INVALID_DEVICE: return "CUDA_ERROR_INVALID_DEVICE";
    case INVALID_IMAGE: return "CUDA_ERROR_INVALID_IMAGE";
    case INVALID_CONTEXT: return "CUDA_ERROR_INVALID_CONTEXT";
    case INVALID_HANDLE: return "CUDA_ERROR_INVALID_HANDLE";
    case NOT_FOUND: return "CUDA_ERROR_NOT_FOUND";
    case NOT_READY: return "CUDA_ERROR_NOT_READY";
    case ILLEGAL_ADDRESS: return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case LAUNCH_OUT_OF_RESOURCES: return "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES";
    case LAUNCH_FAILED: return "CUDA_ERROR_LAUNCH_FAILED";
    case NOT_SUPPORTED: return "CUDA_ERROR_NOT_SUPPORTED";
    case UNKNOWN: return "CUDA_ERROR_UNKNOWN";
    }
    return nullptr;
}
static const char *meaning(int r) {
    switch (r) {
    case OK: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case INVALID_CONTEXT: return "invalid device context";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    case LAUNCH_FAILED: return "unspecified launch failure";
    }
    return name(r);
}
API int cuGetErrorName(int r, const char **to) { return (*to = name(r)) ? OK : INVALID_VALUE; }
API int cuGetErrorString(int r, const char **to) { return (*to = meaning(r)) ? OK : INVALID_VALUE; }
