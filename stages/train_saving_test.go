package stages

import (
	"testing"
	"time"

	"bzdata/pipeline/store"
)

// FilesLeft is for tests of whole windows.
const FilesLeft = filesLeft

// slowDisk takes a while to flush, and for each byte.
type slowDisk struct {
	store.FS
	clock *simulated
	flush float64 // seconds, of a file or a folder
	rate  float64 // bytes a second, written and read
}

func (d *slowDisk) SyncDir(name string) error {
	d.clock.take(d.flush)
	return d.FS.SyncDir(name)
}

func (d *slowDisk) Create(name string) (store.File, error) {
	f, err := d.FS.Create(name)
	return slowFile{f, d}, err
}

type slowFile struct {
	store.File
	disk *slowDisk
}

func (f slowFile) Write(p []byte) (int, error) {
	f.disk.clock.take(float64(len(p)) / f.disk.rate)
	return f.File.Write(p)
}

func (f slowFile) Sync() error {
	f.disk.clock.take(f.disk.flush)
	return f.File.Sync()
}

// TestTimeSaving tries disks on which files take as long as they are told to: the time for all is that of as many
// small files, and of all bytes, whatever the sample was.
func TestTimeSaving(t *testing.T) {
	for _, flush := range []float64{0.0001, 0.05} {
		for _, rate := range []float64{20e6, 2e9} {
			for _, bytes := range []int64{1000, 10e6, 30e9} {
				clock := &simulated{time.Unix(1_700_000_000, 0)}
				disk := &slowDisk{store.NewCrashFS(), clock, flush, rate}
				got, err := timeSaving(disk, "/", bytes, clock.now)
				if err != nil {
					t.Fatal(err)
				}
				want := filesLeft*2*flush + float64(bytes)/rate
				if got := got.Seconds(); got < 0.99*want || got > 1.01*want+0.001 {
					t.Errorf("%g s to flush, %g bytes a second: %d bytes take %.4f s, want %.4f", flush, rate, bytes, got, want)
				}
				left, err := disk.ReadDir("/")
				if err != nil || len(left) > 0 {
					t.Errorf("what was tried is still there: %v, %v", left, err)
				}
			}
		}
	}
}
