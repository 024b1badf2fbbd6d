package store

import (
	"sync"

	kzstd "github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// pageCodec compresses pages as the library's codec of the default level does, to the same
// bytes. That one makes an encoder of 16 MiB of history for each writer and processor; this
// one has a single encoder, whose history is the window of 8 MiB and little more.
type pageCodec struct {
	zstd.Codec // for all but Encode

	mu  sync.Mutex
	enc *kzstd.Encoder
}

// Encode compresses a page into dst.
func (c *pageCodec) Encode(dst, src []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.enc == nil {
		var err error
		if c.enc, err = newPageEncoder(); err != nil {
			return nil, err
		}
	}
	return c.enc.EncodeAll(src, dst[:0]), nil
}

func newPageEncoder() (*kzstd.Encoder, error) {
	return kzstd.NewWriter(nil, kzstd.WithEncoderConcurrency(1), kzstd.WithEncoderLevel(kzstd.SpeedDefault),
		kzstd.WithLowerEncoderMem(true), kzstd.WithZeroFrames(true), kzstd.WithEncoderCRC(false))
}
