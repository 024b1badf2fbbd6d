package cuda

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// Card is what the driver says about one card.
type Card struct {
	// Ordinal is the card's number as the driver counts.
	Ordinal     int    `json:"ordinal"`
	Name        string `json:"name"`
	Major       int    `json:"compute_capability_major"`
	Minor       int    `json:"compute_capability_minor"`
	MemoryBytes int64  `json:"memory_bytes"`
	Processors  int    `json:"multiprocessors"`
	handle      int32
	sharedMax   uint32 // bytes of shared memory of a block, if asked for
}

// label names a card in messages.
func (c *Card) label() string { return fmt.Sprintf("card %d (%s)", c.Ordinal, c.Name) }

// Capability is the compute capability, such as "9.0".
func (c *Card) Capability() string { return fmt.Sprintf("%d.%d", c.Major, c.Minor) }

// usable says why a card cannot run the kernels.
func (c *Card) usable() error {
	if c.Major < 8 {
		return fmt.Errorf("%s has compute capability %s; the kernels need 8.0 (Ampere) or newer: "+
			"use another card, or the processor", c.label(), c.Capability())
	}
	return nil
}

// Attributes of a card, by the numbers of cuda.h.
const (
	attributeProcessors     = 16
	attributeMajor          = 75
	attributeMinor          = 76
	attributeSharedMaxOptIn = 97
)

// card describes one card.
func (d *driver) card(ordinal int) (*Card, error) {
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("there is no card %d: the driver shows %d, counted from 0; CUDA_VISIBLE_DEVICES may hide some",
			ordinal, n)
	}
	c := &Card{Ordinal: ordinal}
	get := d.deviceGet.call(uintptr(unsafe.Pointer(&c.handle)), uintptr(ordinal))
	if err := d.check(d.deviceGet, get); err != nil {
		return nil, err
	}
	var name [256]byte
	code := d.deviceName.call(uintptr(unsafe.Pointer(&name)), uintptr(len(name)), uintptr(c.handle))
	if err := d.check(d.deviceName, code); err != nil {
		return nil, err
	}
	c.Name, _, _ = strings.Cut(string(name[:]), "\x00")
	total := d.deviceTotal.call(uintptr(unsafe.Pointer(&c.MemoryBytes)), uintptr(c.handle))
	if err := d.check(d.deviceTotal, total); err != nil {
		return nil, err
	}
	return c, d.attributes(c)
}

func (d *driver) attributes(c *Card) error {
	var err error
	get := func(attribute uintptr) int {
		var value int32
		code := d.deviceAttribute.call(uintptr(unsafe.Pointer(&value)), attribute, uintptr(c.handle))
		err = errors.Join(err, d.check(d.deviceAttribute, code))
		return int(value)
	}
	c.Major, c.Minor, c.Processors = get(attributeMajor), get(attributeMinor), get(attributeProcessors)
	c.sharedMax = uint32(get(attributeSharedMaxOptIn))
	return err
}

// count returns how many cards there are, at least one.
func (d *driver) count() (int, error) {
	var n int32
	if err := d.check(d.deviceCount, d.deviceCount.call(uintptr(unsafe.Pointer(&n)))); err != nil {
		return 0, explain(err)
	}
	if n == 0 {
		return 0, errNoCard
	}
	return int(n), nil
}

var errNoCard = errors.New("the driver shows no card: CUDA_VISIBLE_DEVICES may hide all, or the container was " +
	"started without one (docker run --gpus all)")

// Find looks for a card and for all that computing on it takes, and opens nothing on it.
func Find(ordinal int) (Card, error) {
	libs, err := openLibraries(nil)
	if err != nil {
		return Card{}, err
	}
	card, err := libs.driver.card(ordinal)
	if err != nil {
		return Card{}, err
	}
	return *card, card.usable()
}
