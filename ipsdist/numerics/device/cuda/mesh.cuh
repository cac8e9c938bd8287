// The force mesh: cells and shares of positions, interpolated drifts, integer weights. Needs D and REAL.

// Weights of a cell's corners are in units of 1 / COUNT_ONE = 2**-16, and sum to it.
#define COUNT_BITS 16
#define COUNT_ONE 65536u

#define MESH i64 lower0, i64 lower1, i64 lower2, i64 side0, i64 side1, i64 side2, double inverse

struct Mesh {
    i64 lower[D];     // lattice index of the first node
    i64 origin[D];    // what `floored` makes of the first node, as an integer
    u32 last[D];      // number of cells
    int stride[D];    // nodes from one to the next along an axis
    int nodes;        // below 2**31; nodes are numbered in signed integers, so that addresses fold
    double inverse;   // 1 / spacing, a power of two
};

DEVICE Mesh mesh_of(MESH) {
    Mesh mesh;
    const i64 lower[3] = {lower0, lower1, lower2}, side[3] = {side0, side1, side2};
    mesh.nodes = 1;
    #pragma unroll
    for (int a = D - 1; a >= 0; --a) {
        mesh.lower[a] = lower[a];
        mesh.origin[a] = __double_as_longlong(FLOOR_ONE) + lower[a];
        mesh.last[a] = (u32)side[a] - 1;
        mesh.stride[a] = mesh.nodes;
        mesh.nodes *= (int)side[a];
    }
    mesh.inverse = inverse;
    return mesh;
}
#define THE_MESH mesh_of(lower0, lower1, lower2, side0, side1, side2, inverse)

// Lowest node of the cell of a position, and its share of the upper node of each axis; false, any node, off the mesh.
// Bits of doubles are in the order of the doubles, so one unsigned comparison of `floored` - origin is exact for every
// position while the mesh lies within 2**50 cells of 0: what is below, beyond, huge, infinite or NaN gives more.
DEVICE bool locate(const REAL* x, const Mesh& mesh, int& node, double* share) {
    bool inside = true;
    node = 0;
    #pragma unroll
    for (int a = 0; a < D; ++a) {
        const double q = mul((double)x[a], mesh.inverse), low = floored(q);
        const u64 cell = (u64)(__double_as_longlong(low) - mesh.origin[a]);
        share[a] = sub(q, sub(low, FLOOR_ONE));
        inside = inside && cell < mesh.last[a];
        node += (int)(u32)cell * mesh.stride[a];
    }
    return inside;
}

// --- gather: linear along the last axis first ----------------------------------------------------------------------

// Drifts of TOGETHER axes at a node, in one load where there are several: two numbers, or four, the last of no use.
template <int TOGETHER> struct Corner;
template <> struct Corner<1> {
    static DEVICE void read(const DRIFT* at, DRIFT (&f)[1]) { f[0] = *at; }
};
template <> struct Corner<2> {
    struct alignas(2 * sizeof(DRIFT)) Pair { DRIFT f0, f1; };
    static DEVICE void read(const DRIFT* at, DRIFT (&f)[2]) {
        const Pair pair = *reinterpret_cast<const Pair*>(at);
        f[0] = pair.f0; f[1] = pair.f1;
    }
};
template <> struct Corner<3> {
    struct alignas(16) Four { DRIFT part[4]; };
    static DEVICE void read(const DRIFT* at, DRIFT (&f)[3]) {
        const Four four = *reinterpret_cast<const Four*>(at);
        f[0] = four.part[0]; f[1] = four.part[1]; f[2] = four.part[2];
    }
};

// The corners along AXIS and all later ones, from the drift of a node on; nodes lie PITCH numbers apart. A difference
// of two drifts is in their type, as in Numba.
template <int AXIS, int TOGETHER, int PITCH> struct Linear {
    static DEVICE void at(const DRIFT* drift, const Mesh& mesh, const double* share, double (&out)[TOGETHER]) {
        double far[TOGETHER];
        Linear<AXIS + 1, TOGETHER, PITCH>::at(drift, mesh, share, out);
        Linear<AXIS + 1, TOGETHER, PITCH>::at(drift + mesh.stride[AXIS] * PITCH, mesh, share, far);
        #pragma unroll
        for (int a = 0; a < TOGETHER; ++a) out[a] = add(out[a], mul(share[AXIS], sub(far[a], out[a])));
    }
};
template <int TOGETHER, int PITCH> struct Linear<D - 1, TOGETHER, PITCH> {
    static DEVICE void at(const DRIFT* drift, const Mesh&, const double* share, double (&out)[TOGETHER]) {
        DRIFT near[TOGETHER], far[TOGETHER];
        Corner<TOGETHER>::read(drift, near);
        Corner<TOGETHER>::read(drift + PITCH, far);
        #pragma unroll
        for (int a = 0; a < TOGETHER; ++a)
            out[a] = add((double)near[a], mul(share[D - 1], (double)sub(far[a], near[a])));
    }
};

// Drifts (d, nodes) in global memory.
struct Spread {
    static const bool at_once = false;
    const DRIFT* __restrict__ drift;
    DEVICE double along(int axis, int node, const Mesh& mesh, const double* share) const {
        double force[1];
        Linear<0, 1, 1>::at(drift + ((i64)axis * mesh.nodes + node), mesh, share, force);
        return force[0];
    }
    DEVICE void gather(int node, const Mesh& mesh, const double* share, double (&force)[D]) const {
        #pragma unroll
        for (int a = 0; a < D; ++a) force[a] = along(a, node, mesh, share);
    }
};

// Drifts (nodes, PITCH) in global memory: a node of the plane or of space is one load, and a cell of space touches half
// of the sectors of memory. PITCH numbers, of which the first D count: 1, 2 or 4.
#define PITCH (D == 3 ? 4 : D)
struct alignas(PITCH * sizeof(DRIFT) < 16 ? PITCH * sizeof(DRIFT) : 16) Node { DRIFT part[PITCH]; };
struct Joined {
    static const bool at_once = true;
    const DRIFT* __restrict__ drift;
    DEVICE void gather(int node, const Mesh& mesh, const double* share, double (&force)[D]) const {
        Linear<0, D, PITCH>::at(drift + (i64)node * PITCH, mesh, share, force);
    }
};

// Drifts (nodes, d) in shared memory: in the plane one load takes both numbers of a node.
struct Packed {
    static const bool at_once = false;
    const DRIFT* drift;
    DEVICE double along(int axis, int node, const Mesh& mesh, const double* share) const {
        double force[1];
        Linear<0, 1, D>::at(drift + (D * node + axis), mesh, share, force);
        return force[0];
    }
    DEVICE void gather(int node, const Mesh& mesh, const double* share, double (&force)[D]) const {
        #if D < 3
        Linear<0, D, D>::at(drift + D * node, mesh, share, force);
        #else
        #pragma unroll
        for (int a = 0; a < D; ++a) force[a] = along(a, node, mesh, share);
        #endif
    }
};

// --- weights -------------------------------------------------------------------------------------------------------

// A share in units of 1 / COUNT_ONE, half up: from 0 to COUNT_ONE.
DEVICE u32 quantised(double share) { return whole(add(mul(share, (double)COUNT_ONE), 0.5)); }

// The part of a weight that goes to the upper node, half up. weight * upper <= 2**32 - 2**16 where it is below 2**16.
DEVICE u32 split(u32 weight, u32 upper) { return (u32)(((u64)weight * upper + COUNT_ONE / 2) >> COUNT_BITS); }

// Weights of the corners of a cell in the order of deposit.py: bit a of a corner is set for the upper node of axis a.
DEVICE void corner_weights(const u32 (&upper)[D], u32 (&weight)[1 << D]) {
    weight[0] = COUNT_ONE;
    #pragma unroll
    for (int a = 0; a < D; ++a) {
        #pragma unroll
        for (int c = 0; c < 1 << a; ++c) {
            // The first axis splits one whole particle.
            const u32 part = a ? split(weight[c], upper[a]) : upper[0];
            weight[c + (1 << a)] = part;
            weight[c] -= part;
        }
    }
}

// Nodes from the lowest one of a cell to a corner.
DEVICE int corner_step(int corner, const Mesh& mesh) {
    int step = 0;
    #pragma unroll
    for (int a = 0; a < D; ++a) if (corner >> a & 1) step += mesh.stride[a];
    return step;
}
