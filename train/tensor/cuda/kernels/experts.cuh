// How blocks of the kernels for experts find their work. Rows are sorted by expert; start[e] is the first of expert e, and
// start[experts] their number. The host does not know them: it launches as many blocks as there can be tiles.

// A tile of one expert's rows.
struct expert_tile { int expert, from, rows; };

// Tile number `tile` of tiles of so many rows, those of each expert counted apart; rows is 0 if there is none. All
// threads of a warp must call.
__device__ __forceinline__ expert_tile find_tile(const int *start, int experts, int tile, int rows) {
  const int lane = threadIdx.x & 31;
  for (int first = 0; first < experts; first += 32) {
    const int e = first + lane, from = e < experts ? start[e] : 0, to = e < experts ? start[e + 1] : 0;
    const int tiles = (to - from + rows - 1) / rows;
    int end = tiles; // of this expert's tiles, counted from the first of the 32 experts
#pragma unroll
    for (int by = 1; by < 32; by *= 2) {
      const int before = __shfl_up_sync(FULL, end, by);
      if (lane >= by) end += before;
    }
    const unsigned after = __ballot_sync(FULL, tile < end);
    if (after != 0) {
      const int found = __ffs(after) - 1;
      const int begin = from + (tile - (end - tiles)) * rows;
      return {first + found, __shfl_sync(FULL, begin, found), __shfl_sync(FULL, min(rows, to - begin), found)};
    }
    tile -= __shfl_sync(FULL, end, 31);
  }
  return {0, 0, 0};
}
