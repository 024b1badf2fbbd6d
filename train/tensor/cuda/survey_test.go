package cuda

import (
	"strings"
	"testing"
)

// TestInspect looks at a machine with a card, without one, and with part of what is needed.
func TestInspect(t *testing.T) {
	needsFake(t)
	s := Inspect([]string{fakes})
	if err := s.Ready(); err != nil || len(s.Cards) != 1 || s.Cards[0].Problem != "" || s.Driver.Version != "CUDA 12.9" ||
		s.Compiler.Version != "12.9" || !strings.HasPrefix(s.Products.Path, fakes) {
		t.Errorf("%+v, %v", s, err)
	}
	s = Inspect([]string{folder(t)})
	if err := s.Ready(); err == nil || err.Error() != "libcuda.so.1 was not found" || len(s.Driver.Folders) != 1 ||
		s.Driver.Advice != driverAdvice || s.Compiler.Missing != "libnvrtc.so.13 or libnvrtc.so.12 was not found" {
		t.Errorf("%+v, %v", s, err)
	}
	s = Inspect([]string{folder(t, "libnvrtc.so.12")})
	if s.Compiler.Missing != "" || s.Products.Advice != pipAdvice || s.Driver.Missing == "" {
		t.Errorf("%+v", s)
	}
	fakeSet(t, "arch", 130, 90)
	s = Inspect([]string{fakes})
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "cannot compile for compute capability 13.0") {
		t.Errorf("%+v, %v", s, err)
	}
}
