// What given positions leave on the mesh: twins of device/deposit.py; extents, and who is off the mesh.

#define MOVE_ONE 1048576.0

// Numbers of a thread's particles: i runs over them in the grid's stride.
#define EVERY(i, n) (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x)

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

// Add weights to count (nodes) and products of two corners' weights to products (offsets, nodes).
extern "C" __global__ void
deposit(const REAL* __restrict__ x, u64 n, MESH, u64* count, i64* products, u64* lost) {
    const Mesh mesh = THE_MESH;
    u64* product = reinterpret_cast<u64*>(products);
    u32 off = 0;
    for EVERY(i, n) {
        int node;
        u32 weight[1 << D];
        if (!weigh(x + i * D, mesh, node, weight)) {
            ++off;
            continue;
        }
        #pragma unroll
        for (int a = 0; a < 1 << D; ++a) {
            const int here = node + corner_step(a, mesh);
            if (!weight[a]) continue;
            atomicAdd(count + here, (u64)weight[a]);
            #pragma unroll
            for (int b = 0; b < 1 << D; ++b) {
                const int k = offset_number(a, b);
                if (k >= 0 && weight[b]) atomicAdd(product + (i64)k * mesh.nodes + here, (u64)weight[a] * weight[b]);
            }
        }
    }
    if (off) atomicAdd(lost, (u64)off);
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
    DEVICE void give(i64* squares, u64* farthest) const {
        atomicAdd(reinterpret_cast<u64*>(squares), low);
        atomicAdd(reinterpret_cast<u64*>(squares) + 1, high);
        atomicMax(farthest, reach);
    }
};

DEVICE void displacement(const REAL* before, const REAL* after, double inverse, double (&shift)[D]) {
    #pragma unroll
    for (int a = 0; a < D; ++a) shift[a] = mul(sub((double)after[a], (double)before[a]), inverse);
}

// Add weights before times displacements, rounded to 1 / move_one, to flux (d, nodes); sums wrap around.
extern "C" __global__ void
flux(const REAL* __restrict__ before, const REAL* __restrict__ after, u64 n, MESH, double move_one, i64* flux,
     i64* squares, u64* reach, u64* lost) {
    const Mesh mesh = THE_MESH;
    Squares sums = {0, 0, 0};
    u32 off = 0;
    for EVERY(i, n) {
        int node;
        u32 weight[1 << D];
        if (!weigh(before + i * D, mesh, node, weight)) {
            ++off;
            continue;
        }
        double shift[D];
        displacement(before + i * D, after + i * D, mesh.inverse, shift);
        sums.take(shift);
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const u64 amount = (u64)__double2ll_rn(mul(shift[a], move_one));
            u64* line = reinterpret_cast<u64*>(flux) + (i64)a * mesh.nodes;
            #pragma unroll
            for (int c = 0; c < 1 << D; ++c)
                if (weight[c]) atomicAdd(line + node + corner_step(c, mesh), weight[c] * amount);
        }
    }
    sums.give(squares, reach);
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
