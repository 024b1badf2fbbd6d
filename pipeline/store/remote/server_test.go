package remote

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"bzdata/pipeline/store"

	"github.com/minio/minio-go/v7"
)

// TestRealServer runs the checks of objects against a server of its own, versitygw, whose
// program BZDATA_S3_SERVER names: make s3.
func TestRealServer(t *testing.T) {
	program := os.Getenv("BZDATA_S3_SERVER")
	if program == "" {
		t.Skip("BZDATA_S3_SERVER names no server; run make s3")
	}
	env := startServer(t, program)
	env["AWS_REGION"] = "us-east-1"
	b := newBuckets(nil, Options{Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }, Transport: newTransport()})
	core, err := b.core()
	if err != nil {
		t.Fatal(err)
	}
	if err := core.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"raw/a.jsonl": []byte("{}\n"), "raw/b.jsonl.gz": randomBytes(700_000), "raw/x/c.parquet": randomBytes(10),
		"raw/x/d.txt": []byte("no"), "raw/x/y/e.jsonl": {}, "rawer/f.jsonl": []byte("{}")}
	for key, data := range files {
		if _, err := core.PutObject(t.Context(), "bucket", key, bytes.NewReader(data), int64(len(data)), "", "",
			minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	checkBucket(t, env, "s3://bucket", files)
	checkUploads(t, env, "s3://bucket/up")
	fsys, _ := newTestFS(t, env)
	if _, err := fsys.Stat("s3://bucket/raw/b.jsonl.gz"); err != nil {
		t.Fatal(err)
	}
	other := randomBytes(700_001)[1:]
	if _, err := core.PutObject(t.Context(), "bucket", "raw/b.jsonl.gz", bytes.NewReader(other), int64(len(other)), "", "",
		minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := readName(fsys, "s3://bucket/raw/b.jsonl.gz", readWays["Read"]); !errors.Is(err, errChanged) {
		t.Errorf("an object that was replaced: %v", err)
	}
	env["AWS_SECRET_ACCESS_KEY"] = "wrong-secret-key"
	wrong, _ := newTestFS(t, env)
	var location *store.LocationError
	if _, _, err := store.Expand(wrong, "s3://bucket/raw/*"); !errors.As(err, &location) {
		t.Errorf("a wrong key: %v", err)
	}
	env["AWS_SECRET_ACCESS_KEY"] = "s3cret-of-the-test"
	other2, _ := newTestFS(t, env)
	if _, _, err := store.Expand(other2, "s3://nobucket/raw/*"); !errors.As(err, &location) {
		t.Errorf("no bucket: %v", err)
	}
}

// startServer runs versitygw over a folder until the test ends.
func startServer(t *testing.T, program string) map[string]string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.Command(program, "--access", "AKIATEST", "--secret", "s3cret-of-the-test", "--region", "us-east-1",
		"--port", address, "posix", t.TempDir())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case end := <-ended:
			t.Fatalf("the server has ended, %v, before it answered: %v", end, err)
		default: // it begins
		}
	}
	return map[string]string{"AWS_ENDPOINT_URL": "http://" + address, "AWS_ACCESS_KEY_ID": "AKIATEST",
		"AWS_SECRET_ACCESS_KEY": "s3cret-of-the-test"}
}
