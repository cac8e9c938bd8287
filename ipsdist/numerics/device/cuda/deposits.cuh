// What given positions leave on the mesh: twins of device/deposit.py; extents, and who is off the mesh.

#define MOVE_ONE 1048576.0

// Number of the lattice vector from corner a to corner b in neighbour_offsets(d), -1 where it is not among them: those
// are the vectors in {-1, 0, 1}**d in falling order, as far as 0.
DEVICE int offset_number(int a, int b) {
    int code = 0, all = 1;
    #pragma unroll
    for (int axis = 0; axis < D; ++axis) {
        code = 3 * code + 1 + (b >> axis & 1) - (a >> axis & 1);
        all *= 3;
    }
    return code > all / 2 ? all - 1 - code : -1;
}

// Node and corner weights of a position; false off the mesh.
DEVICE bool weigh(const REAL* x, const Mesh& mesh, int& node, u32 (&weight)[1 << D]) {
    double share[D];
    u32 upper[D];
    if (!locate(x, mesh, node, share)) return false;
    #pragma unroll
    for (int a = 0; a < D; ++a) upper[a] = quantised(share[a]);
    corner_weights(upper, weight);
    return true;
}

// The line of two corners of a cell, -1 if they have none, and what they add there: 0 for a weight, of a corner and
// itself, 1 + k for a product, in 30 bits: two weights sum to 2**16 at most.
DEVICE int line_of(int a, int b) {
    const int k = offset_number(a, b);
    return a == b ? 0 : k < 0 ? -1 : 1 + k;
}
DEVICE u32 amount_of(const u32 (&weight)[1 << D], int a, int b) { return a == b ? weight[a] : weight[a] * weight[b]; }

// Corners of a cell whose sums a thread adds to at once: in space, all would take too many registers.
#define AT_ONCE (D == 3 ? 1 : 1 << D)

// Add the weights of a position and the products of two of them; false off the mesh.
template <class Sums> DEVICE bool put(const REAL* x, const Mesh& mesh, const Sums& sums) {
    int node;
    u32 weight[1 << D];
    if (!weigh(x, mesh, node, weight)) return false;
    #pragma unroll
    for (int some = 0; some < 1 << D; some += AT_ONCE) {
        u32 before[AT_ONCE << D];
        #pragma unroll
        for (int i = 0; i < AT_ONCE << D; ++i) {
            const int a = some + (i >> D), b = i & ((1 << D) - 1), line = line_of(a, b);
            if (line >= 0) before[i] = sums.begin(line, node + corner_step(a, mesh), amount_of(weight, a, b));
        }
        #pragma unroll
        for (int i = 0; i < AT_ONCE << D; ++i) {
            const int a = some + (i >> D), b = i & ((1 << D) - 1), line = line_of(a, b);
            if (line >= 0) sums.end(line, node + corner_step(a, mesh), amount_of(weight, a, b), before[i]);
        }
    }
    return true;
}

// All particles; how many of those of a thread are off the mesh.
template <class Sums> DEVICE u32 put_all(const REAL* x, u64 n, const Mesh& mesh, const Sums& sums) {
    const bool vectors = aligned(x);
    u32 off = 0;
    for EVERY(g, (n + CROWD - 1) / CROWD) {
        REAL group[GROUP];
        const int some = read_some(x, n, g, vectors, group);
        #pragma unroll
        for (int p = 0; p < CROWD; ++p) if (p < some) off += !put(group + p * D, mesh, sums);
    }
    return off;
}

// Add weights to count (nodes) and products of two corners' weights to products (offsets, nodes).
extern "C" __global__ void
deposit(const REAL* __restrict__ x, u64 n, MESH, u64* count, i64* products, u64* lost) {
    const Mesh mesh = THE_MESH;
    const GlobalWeights sums = {{count, reinterpret_cast<u64*>(products), mesh.nodes}};
    const u32 off = put_all(x, n, mesh, sums);
    if (off) atomicAdd(lost, (u64)off);
}

// The same for `number` lines from `first` on alone, by sums in shared memory: a word a node and line. Who is off the
// mesh is told with line 0.
extern "C" __global__ void __launch_bounds__(1024)
deposit_near(const REAL* __restrict__ x, u64 n, MESH, u32 first, u32 number, u64* count, i64* products, u64* lost) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Mesh mesh = THE_MESH;
    u32* low = reinterpret_cast<u32*>(memory);
    const SharedWeights sums = {{count, reinterpret_cast<u64*>(products), mesh.nodes}, {first, number}, low};
    clear(low, number * mesh.nodes);
    const u32 off = put_all(x, n, mesh, sums);
    sums.give();
    if (off && first == 0) atomicAdd(lost, (u64)off);
}

// Squares of displacements in units of 1 / MOVE_ONE, low 32 bits and the rest apart, and the largest along an axis.
struct Squares {
    u64 low, high, reach;
    // Displacements (d) in spacings. The reach is kept in bits, which are in the order of what is not negative: NaN is
    // the largest of all, and stays.
    DEVICE void take(const double* shift) {
        double square = 0.0;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            square = add(square, mul(shift[a], shift[a]));
            const u64 bits = (u64)__double_as_longlong(shift[a]) & 0x7FFFFFFFFFFFFFFF;
            reach = bits > reach ? bits : reach;
        }
        const i64 rounded = __double2ll_rn(mul(square, MOVE_ONE));
        low += (u64)rounded & 0xFFFFFFFF;
        high += (u64)(rounded >> 32);
    }
    // Give those of all threads of a block, once; begins with a barrier and has more.
    DEVICE void give(i64* squares, u64* farthest) const {
        __shared__ u32 half[6];
        const u32 top = (u32)(reach >> 32);
        __syncthreads();
        clear(half, 6);
        add_halves(half, half + 1, low);
        add_halves(half + 2, half + 3, high);
        atomicMax(half + 5, top);
        __syncthreads();
        // The largest has the largest high half, and among those with it the largest low one.
        if (top == half[5]) atomicMax(half + 4, (u32)reach);
        __syncthreads();
        u64* sums = reinterpret_cast<u64*>(squares);
        for (int i = threadIdx.x; i < 3; i += blockDim.x) {
            const u64 all = (u64)half[2 * i + 1] << 32 | half[2 * i];
            if (i < 2) atomicAdd(sums + i, all); else atomicMax(farthest, all);
        }
    }
};

DEVICE void displacement(const REAL* before, const REAL* after, double inverse, double (&shift)[D]) {
    #pragma unroll
    for (int a = 0; a < D; ++a) shift[a] = mul(sub((double)after[a], (double)before[a]), inverse);
}

// Add the weights of a position before times its displacement; false, and nothing, off the mesh.
template <class Sums>
DEVICE bool shift_from(const REAL* before, const REAL* after, const Mesh& mesh, double move_one, const Sums& sums,
                       Squares& squares) {
    int node;
    u32 weight[1 << D];
    if (!weigh(before, mesh, node, weight)) return false;
    double shift[D];
    displacement(before, after, mesh.inverse, shift);
    if (sums.begins()) squares.take(shift);
    #pragma unroll
    for (int a = 0; a < D; ++a) {
        if (!sums.holds(a)) continue;
        const u64 amount = (u64)__double2ll_rn(mul(shift[a], move_one));
        u32 was[1 << D];
        #pragma unroll
        for (int c = 0; c < 1 << D; ++c) was[c] = sums.begin(a, node + corner_step(c, mesh), weight[c] * amount);
        #pragma unroll
        for (int c = 0; c < 1 << D; ++c) sums.end(a, node + corner_step(c, mesh), weight[c] * amount, was[c]);
    }
    return true;
}

// All particles; how many of those of a thread are off the mesh.
template <class Sums>
DEVICE u32 shift_all(const REAL* before, const REAL* after, u64 n, const Mesh& mesh, double move_one, const Sums& sums,
                     Squares& squares) {
    const bool vectors = aligned(before) && aligned(after);
    u32 off = 0;
    for EVERY(g, (n + CROWD - 1) / CROWD) {
        REAL from[GROUP], to[GROUP];
        const int some = read_some(before, n, g, vectors, from);
        read_some(after, n, g, vectors, to);
        #pragma unroll
        for (int p = 0; p < CROWD; ++p)
            if (p < some) off += !shift_from(from + p * D, to + p * D, mesh, move_one, sums, squares);
    }
    return off;
}

// Add weights before times displacements, rounded to 1 / move_one, to flux (d, nodes); sums wrap around.
extern "C" __global__ void
flux(const REAL* __restrict__ before, const REAL* __restrict__ after, u64 n, MESH, double move_one, i64* flux,
     i64* squares, u64* reach, u64* lost) {
    const Mesh mesh = THE_MESH;
    const GlobalFlux sums = {reinterpret_cast<u64*>(flux), mesh.nodes};
    Squares mine = {0, 0, 0};
    const u32 off = shift_all(before, after, n, mesh, move_one, sums, mine);
    mine.give(squares, reach);
    if (off) atomicAdd(lost, (u64)off);
}

// The same for `number` axes from `first` on alone, by sums in shared memory: two words a node and axis. Squares, reach
// and who is off the mesh are told with axis 0.
extern "C" __global__ void __launch_bounds__(1024)
flux_near(const REAL* __restrict__ before, const REAL* __restrict__ after, u64 n, MESH, double move_one, u32 first,
          u32 number, i64* flux, i64* squares, u64* reach, u64* lost) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Mesh mesh = THE_MESH;
    u32* halves = reinterpret_cast<u32*>(memory);
    const SharedFlux sums = {{reinterpret_cast<u64*>(flux), mesh.nodes}, {first, number}, halves};
    Squares mine = {0, 0, 0};
    clear(halves, 2 * number * mesh.nodes);
    const u32 off = shift_all(before, after, n, mesh, move_one, sums, mine);
    sums.give();
    if (first != 0) return;
    mine.give(squares, reach);
    if (off) atomicAdd(lost, (u64)off);
}

extern "C" __global__ void
squares(const REAL* __restrict__ before, const REAL* __restrict__ after, u64 n, double inverse, i64* squares,
        u64* reach) {
    Squares sums = {0, 0, 0};
    for EVERY(i, n) {
        double shift[D];
        displacement(before + i * D, after + i * D, inverse, shift);
        sums.take(shift);
    }
    sums.give(squares, reach);
}

// Bits of a double in the order of the doubles: those below zero turned round.
DEVICE u64 ordered(double x) {
    const u64 bits = (u64)__double_as_longlong(x), sign = 0x8000000000000000;
    return bits & sign ? ~bits : bits | sign;
}

// Lower keys[a], raise keys[D + a] to the ordered bits of the extent along axis a; count particles that are not finite.
extern "C" __global__ void
extent(const REAL* __restrict__ x, u64 n, u64* keys, u64* broken) {
    double lowest[D], highest[D];
    u32 bad = 0;
    bool any = false;
    for EVERY(i, n) {
        bool finite = true;
        #pragma unroll
        for (int a = 0; a < D; ++a) finite = finite && isfinite(x[i * D + a]);
        bad += !finite;
        if (!finite) continue;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const double here = (double)x[i * D + a];
            lowest[a] = any && lowest[a] < here ? lowest[a] : here;
            highest[a] = any && highest[a] > here ? highest[a] : here;
        }
        any = true;
    }
    if (any) {
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            atomicMin(keys + a, ordered(lowest[a]));
            atomicMax(keys + D + a, ordered(highest[a]));
        }
    }
    if (bad) atomicAdd(broken, (u64)bad);
}

extern "C" __global__ void
off(const REAL* __restrict__ x, u64 n, MESH, u64* off) {
    const Mesh mesh = THE_MESH;
    u32 outside = 0;
    for EVERY(i, n) {
        int node;
        double share[D];
        outside += !locate(x + i * D, mesh, node, share);
    }
    if (outside) atomicAdd(off, (u64)outside);
}
