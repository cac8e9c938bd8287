// Positions in groups of particles: those that a Philox block serves on a line (4) and in the plane (2); one in space,
// where memory is what takes time, and registers would not do for the four of three blocks. Needs D and REAL.

#define CROWD (D == 3 ? 1 : 4 / D)
#define GROUP (CROWD * D)

// Numbers of what a thread takes: i runs over them in the grid's stride.
#define EVERY(i, n) (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)

struct alignas(16) Sixteen { REAL part[16 / sizeof(REAL)]; };

// Whether groups may be moved 16 bytes at a time.
DEVICE bool aligned(const REAL* x) { return D != 3 && ((u64)x & 15) == 0; }

DEVICE void read_group(const REAL* x, bool vectors, REAL (&group)[GROUP]) {
    const int each = 16 / sizeof(REAL);
    if (vectors) {
        #pragma unroll
        for (int i = 0; i < GROUP / each; ++i) {
            const Sixteen some = reinterpret_cast<const Sixteen*>(x)[i];
            #pragma unroll
            for (int j = 0; j < each; ++j) group[i * each + j] = some.part[j];
        }
    } else {
        #pragma unroll
        for (int i = 0; i < GROUP; ++i) group[i] = x[i];
    }
}

DEVICE void write_group(REAL* x, bool vectors, const REAL (&group)[GROUP]) {
    const int each = 16 / sizeof(REAL);
    if (vectors) {
        #pragma unroll
        for (int i = 0; i < GROUP / each; ++i) {
            Sixteen some;
            #pragma unroll
            for (int j = 0; j < each; ++j) some.part[j] = group[i * each + j];
            reinterpret_cast<Sixteen*>(x)[i] = some;
        }
    } else {
        #pragma unroll
        for (int i = 0; i < GROUP; ++i) x[i] = group[i];
    }
}

// Group g of n particles, perhaps the last one, which is not whole; how many particles there are in it.
DEVICE int read_some(const REAL* x, u64 n, u64 g, bool vectors, REAL (&group)[GROUP]) {
    const u64 left = n - g * CROWD;
    x += g * GROUP;
    if (left >= CROWD) {
        read_group(x, vectors, group);
        return CROWD;
    }
    #pragma unroll
    for (int i = 0; i < GROUP; ++i) group[i] = (u64)i < left * D ? x[i] : (REAL)0;
    return (int)left;
}
