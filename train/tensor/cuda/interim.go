package cuda

import "bzdata/train/tensor"

type matrix = tensor.Matrix
