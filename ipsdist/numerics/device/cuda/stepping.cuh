// One Euler-Maruyama step of a group of particles: twin of device/step.py. Needs D and REAL.

#include "arithmetic.cuh"
#include "noise.cuh"

// The drift at the nodes is kept in the type of the positions.
typedef REAL DRIFT;

#include "mesh.cuh"
#include "memory.cuh"

struct Motion { double dt, scale; };

DEVICE REAL moved(REAL x, double force, float xi, const Motion& motion) {
    return (REAL)add(add((double)x, mul(motion.dt, force)), mul(motion.scale, (double)xi));
}

// --- where a particle is, and its weights there ----------------------------------------------------------------------
// `from` and `to` give the lowest node of its cell (from: for the drift, to: for the counters, which begin at number
// `shift` of their memory) and shares or weights; any node if it is off the mesh. `inside` is exact, `usual` may doubt:
// what is usual is on the mesh, and no counter that it adds to lies beyond the last one.

// For any mesh.
struct Anywhere {
    Mesh mesh;
    int shift;
    DEVICE Anywhere(const Mesh& m, int counters) : mesh(m), shift(counters) {}
    DEVICE bool inside(const REAL* x) const {
        int node;
        double share[D];
        return locate(x, mesh, node, share);
    }
    DEVICE bool usual(const REAL* x) const { return inside(x); }
    DEVICE void from(const REAL* x, int& node, double* share) const { locate(x, mesh, node, share); }
    DEVICE void to(const REAL* x, int& node, u32 (&upper)[D]) const {
        double share[D];
        locate(x, mesh, node, share);
        node += shift;
        #pragma unroll
        for (int a = 0; a < D; ++a) upper[a] = quantised(share[a]);
    }
};

// For positions in float32 and a mesh within 2**19 - 2 cells of 0. Two things are cheaper there, and the same:
// a position is on the mesh if it lies between its ends, which are float32 numbers; and the weight of a float32 is
// floor(share * 2**16 + 1/2) in exact numbers, because no sum in `quantised` rounds up to an integer (a share has 24
// bits behind its leading one; only next to a node is it rounded at all). So one addition to q, rounded down to 2**-32,
// gives the cell in the high word and the weight in the upper half of the low word. A weight of COUNT_ONE comes out as
// 0 in the next cell, which gives the same nodes the same weights; but the upper nodes of what was the last cell then
// lie beyond the mesh. So the last cells are not `usual`.
struct Near {
    Mesh mesh;
    float low[D], high[D];
    int origin[D];
    DEVICE Near(const Mesh& m, int counters) : mesh(m) {
        // 1 / inverse of a power of two: the exponents of the two sum to 2046.
        const double spacing = __longlong_as_double(0x7FE0000000000000 - __double_as_longlong(m.inverse));
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            low[a] = (float)mul((double)m.lower[a], spacing);
            high[a] = (float)mul((double)(m.lower[a] + m.last[a] - 1), spacing);
            origin[a] = 0x41380000 + (int)m.lower[a];
        }
        origin[D - 1] -= counters;
    }
    static DEVICE bool serves(const Mesh& m) {
        bool near = sizeof(REAL) == 4 && m.inverse > 1e-20 && m.inverse < 1e20;
        near = near && (__double_as_longlong(m.inverse) & 0xFFFFFFFFFFFFF) == 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) near = near && m.lower[a] > -524287 && m.lower[a] + m.last[a] < 524287;
        return near;
    }
    DEVICE bool inside(const REAL* x) const {
        int node;
        double share[D];
        return locate(x, mesh, node, share);
    }
    DEVICE bool usual(const REAL* x) const {
        bool all = true;
        #pragma unroll
        for (int a = 0; a < D; ++a) all = all && x[a] >= (REAL)low[a] && x[a] < (REAL)high[a];
        return all;
    }
    DEVICE void from(const REAL* x, int& node, double* share) const {
        node = 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const double q = mul((double)x[a], mesh.inverse), floor = floored(q);
            share[a] = sub(q, sub(floor, FLOOR_ONE));
            node += (__double2loint(floor) - (int)mesh.lower[a]) * mesh.stride[a];
        }
    }
    DEVICE void to(const REAL* x, int& node, u32 (&upper)[D]) const {
        node = 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            // 1.5 * 2**20, and half a weight's unit: 2**-17.
            const double q = __dadd_rd(mul((double)x[a], mesh.inverse), 1572864.0 + 1.0 / 131072.0);
            node += (__double2hiint(q) - origin[a]) * mesh.stride[a];
            upper[a] = (u32)__double2loint(q) >> 16;
        }
    }
};

// --- counters --------------------------------------------------------------------------------------------------------

// In the shared memory of the block, in 32 bits.
struct Shared {
    u32* at;
    DEVICE void operator()(int node, u32 weight) const { atomicAdd(at + node, weight); }
};
struct Global {
    u64* at;
    DEVICE void operator()(int node, u32 weight) const { atomicAdd(at + node, (u64)weight); }
};

// Particles that a block may add to its counters between two carries: below 2**31 before, they stay below 2**32.
#define CARRY 32767u

// Move what is in counters of at least `least` to the global ones. Begins and ends with a barrier.
DEVICE void carry(u32* counter, int nodes, u32 least, u64* count) {
    __syncthreads();
    for (int k = threadIdx.x; k < nodes; k += blockDim.x) {
        const u32 here = counter[k];
        if (here >= least) {
            atomicAdd(count + k, (u64)here);
            counter[k] = 0;
        }
    }
    __syncthreads();
}

// --- the step of a group ----------------------------------------------------------------------------------------------

// The words of a group. `at` is the number of their Philox block, in space that of their first word.
DEVICE void words_of(u64 at, const Noise& noise, u32 (&out)[GROUP]) {
    #if D == 3
    u32 near[4], far[4] = {0, 0, 0, 0};
    const u32 lane = (u32)at & 3;
    philox(at >> 2, noise, near);
    if (lane > 1) philox((at >> 2) + 1, noise, far);
    out[0] = lane == 0 ? near[0] : lane == 1 ? near[1] : lane == 2 ? near[2] : near[3];
    out[1] = lane == 0 ? near[1] : lane == 1 ? near[2] : lane == 2 ? near[3] : far[0];
    out[2] = lane == 0 ? near[2] : lane == 1 ? near[3] : lane == 2 ? far[0] : far[1];
    #else
    philox(at, noise, out);
    #endif
}
#define WORDS_A_STEP (D == 3 ? 3 : 1)

// Add the weights of a particle, where all its nodes are on the mesh, or where that is so of those with a weight only.
template <bool ALL, class Count>
DEVICE void give(int node, const u32 (&upper)[D], const Mesh& mesh, const Count& count) {
    u32 weight[1 << D];
    corner_weights(upper, weight);
    #pragma unroll
    for (int c = 0; c < 1 << D; ++c) if (ALL || weight[c]) count(node + corner_step(c, mesh), weight[c]);
}

// Particles that a block lost, in its shared memory: those that left the mesh, and those that were off it before.
struct Lost {
    u32* two;
    DEVICE void left() const { atomicAdd(two, 1u); }
    DEVICE void before() const { atomicAdd(two + 1, 1u); }
};

// Add the weights of `particles` at x, one after the other; count those that are off the mesh.
template <class Place, class Count>
DEVICE void give_slowly(const REAL* x, int particles, const Place& place, const Count& count, const Lost& lost) {
    #pragma unroll 1
    for (int p = 0; p < particles; ++p) {
        int node;
        u32 upper[D];
        if (place.inside(x + p * D)) {
            place.to(x + p * D, node, upper);
            give<false>(node, upper, place.mesh, count);
        } else {
            lost.left();
        }
    }
}

// What `step_group` does, for `particles` that may be fewer, or off the mesh: one after the other, axis after axis,
// with few registers.
template <class Place, class Field, class Count>
DEVICE void step_slowly(REAL* x, int particles, u64 words, const Noise& noise, const Table& table, const Place& place,
                        const Field& field, const Motion& motion, const Count& count, const Lost& lost) {
    #pragma unroll 1
    for (int p = 0; p < particles; ++p, x += D) {
        if (!place.inside(x)) {
            lost.before();
            continue;
        }
        u32 word[GROUP];
        int node;
        double share[D];
        words_of(words, noise, word);
        place.from(x, node, share);
        double force[D];
        if constexpr (Field::at_once) field.gather(node, place.mesh, share, force);
        #pragma unroll (Field::at_once ? D : 1)
        for (int a = 0; a < D; ++a) {
            double pull;
            if constexpr (Field::at_once) pull = force[a]; else pull = field.along(a, node, place.mesh, share);
            u32 own = word[0];
            #pragma unroll
            for (int i = 1; i < GROUP; ++i) own = p * D + a == i ? word[i] : own;
            x[a] = moved(x[a], pull, normal(own, table), motion);
        }
        give_slowly(x, 1, place, count, lost);
    }
}

// Move the particles of a group that begins at x, of which `size` numbers are there, and count their new weights. Those
// that are off the mesh stay where they are.
template <class Place, class Field, class Count>
DEVICE void step_group(REAL* x, i64 size, bool vectors, u64 words, const Noise& noise, const Table& table,
                       const Place& place, const Field& field, const Motion& motion, const Count& count,
                       const Lost& lost) {
    if (CROWD == 1) {
        step_slowly(x, size > 0, words, noise, table, place, field, motion, count, lost);
        return;
    }
    REAL group[GROUP];
    u32 word[GROUP], upper[CROWD][D];
    int node[CROWD];
    bool usual = size >= GROUP;
    if (usual) read_group(x, vectors, group);
    words_of(words, noise, word);
    #pragma unroll
    for (int p = 0; p < CROWD; ++p) usual = usual && place.usual(group + p * D);
    if (!usual) {
        const int particles = size >= GROUP ? CROWD : size > 0 ? (int)size / D : 0;
        step_slowly(x, particles, words, noise, table, place, field, motion, count, lost);
        return;
    }
    #pragma unroll
    for (int p = 0; p < CROWD; ++p) {
        double share[D], force[D];
        place.from(group + p * D, node[p], share);
        field.gather(node[p], place.mesh, share, force);
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            REAL& here = group[p * D + a];
            here = moved(here, force[a], normal(word[p * D + a], table), motion);
        }
    }
    write_group(x, vectors, group);
    #pragma unroll
    for (int p = 0; p < CROWD; ++p) {
        place.to(group + p * D, node[p], upper[p]);
        usual = usual && place.usual(group + p * D);
    }
    if (!usual) {
        give_slowly(x, CROWD, place, count, lost);
        return;
    }
    #pragma unroll
    for (int p = 0; p < CROWD; ++p) give<true>(node[p], upper[p], place.mesh, count);
}
