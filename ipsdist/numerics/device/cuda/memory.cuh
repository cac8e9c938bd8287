// Positions in groups of particles: those that a Philox block serves on a line (4) and in the plane (2); one in space,
// where memory is what takes time, and registers would not do for the four of three blocks. Needs D and REAL.

#define CROWD (D == 3 ? 1 : 4 / D)
#define GROUP (CROWD * D)

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
