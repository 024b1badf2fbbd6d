package cli

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"bzdata/pipeline"
)

// memoryBudget is the budget of a run in bytes: as the flag says, or half of the smaller
// of the machine's memory and the container's limit.
func memoryBudget(flag string) (int64, error) {
	if flag != "" {
		var b pipeline.Bytes
		if err := b.UnmarshalText([]byte(flag)); err != nil {
			return 0, err
		}
		if b < 64<<20 {
			return 0, fmt.Errorf("%s is too little; give at least 64MiB", flag)
		}
		return int64(b), nil
	}
	total := int64(8 << 30) // where neither can be read
	if n := machineMemory(); n > 0 {
		total = n
	}
	if n := containerLimit(); n > 0 {
		total = min(total, n)
	}
	return total / 2, nil
}

// machineMemory reads Linux's total memory, or returns 0.
func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// containerLimit reads the control group's limit, version 2 or 1, or returns 0.
func containerLimit() int64 {
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil {
			return n
		}
	}
	return 0
}
