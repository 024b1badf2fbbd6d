// Package checkpoint reads and writes model weights: safetensors files, sharded
// model folders, overlays of a network's group files, the tensor names each
// network uses, expert groups, and the hash by which an update is known.
//
// # Safetensors
//
// A file is an 8-byte little-endian length N, N bytes of JSON, and the tensors:
//
//	{"__metadata__":{"k":"v"},"NAME":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},…}
//
// Offsets count from the end of the header; numbers are little-endian, rows outermost.
// [Open] refuses what the reference implementation (huggingface/safetensors 0.8) refuses,
// with an error that names the file and the tensor: a header over 100 MB or past the end
// of the file, a length that differs from shape times width, overlaps, holes, and bytes
// that belong to no tensor. It also refuses names that occur twice, of which the reference
// takes the last, the types F8_E4M3FNUZ and F8_E5M2FNUZ, sizes beyond 2^62 bits, more than 64 dimensions,
// and names of more than 1,024 bytes.
// [Write] makes the same bytes as the reference for the same tensors.
//
// # PyTorch
//
// [OpenTorch] and [WriteTorch] exchange dictionaries of tensors with torch.save and
// torch.load: an uncompressed zip file whose data.pkl is a pickle that names each tensor's
// type, shape and record. Nothing of a pickle is executed, and what is not a plain tensor is refused by
// its name. For either format no more memory is taken than in proportion to the file, whatever
// sizes it states.
//
// # Names
//
// Tensor names of a routed expert are one of three kinds, see [Naming]. Everything else
// in a model keeps the name it has in its Hugging Face folder.
//
// # Hash
//
// The networks identify an update by [Hash]: BLAKE2b with a 24-byte digest over names
// and raw values in name order, without shapes, types or separators.
//
// # Expert groups
//
// A [Group] is a folder of config.yaml and expert_assignment.json, and what Connito's owner serves as
// a task is the same folder: [ReadTaskBundle] gives the hash by which nodes know it, SHA-256 of
//
//	json.dumps({name, config, expert_assignment, shard_policy}, sort_keys=True, separators=(",", ":"))
//
// (connito/shared/task_sync.py, TaskBundle.canonical_sha256). So numbers, texts and the types of
// plain YAML are those of Python and PyYAML: testdata/task has what these make of odd folders.
package checkpoint
