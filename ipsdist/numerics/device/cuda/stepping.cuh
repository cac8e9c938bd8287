// One Euler-Maruyama step of a group of particles: twin of device/step.py. Needs D and REAL.

#include "noise.cuh"
#include "mesh.cuh"
#include "memory.cuh"

struct Motion { double dt, scale; };

DEVICE REAL moved(REAL x, double force, float xi, const Motion& motion) {
    return (REAL)add(add((double)x, mul(motion.dt, force)), mul(motion.scale, (double)xi));
}

// --- where a particle went, and its weights there ------------------------------------------------------------------

// For any mesh.
struct Anywhere {
    Mesh mesh;
    DEVICE explicit Anywhere(const Mesh& m) : mesh(m) {}
    DEVICE bool from(const REAL* x, u32& node, double* share) const { return locate(x, mesh, node, share); }
    DEVICE bool to(const REAL* x, u32& node, u32 (&upper)[D]) const {
        double share[D];
        const bool inside = locate(x, mesh, node, share);
        #pragma unroll
        for (int a = 0; a < D; ++a) upper[a] = quantised(share[a]);
        return inside;
    }
};

// For positions in float32 and a mesh within 2**19 - 2 cells of 0. Two things are cheaper there, and the same:
// a position is on the mesh if it lies between its ends, which are float32 numbers; and the weight of a float32 is
// floor(share * 2**16 + 1/2) in exact numbers, because no sum in `quantised` rounds up to an integer (a share has 24
// bits behind its leading one; only next to a node is it rounded at all). So one addition to q, rounded down to 2**-32,
// gives the cell in the high word and the weight in the upper half of the low word. A weight of COUNT_ONE comes out as
// 0 in the next cell, which gives the same nodes the same weights.
struct Near {
    Mesh mesh;
    float low[D], high[D];
    int origin[D];
    DEVICE explicit Near(const Mesh& m) : mesh(m) {
        // 1 / inverse of a power of two: the exponents of the two sum to 2046.
        const double spacing = __longlong_as_double(0x7FE0000000000000 - __double_as_longlong(m.inverse));
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            low[a] = (float)mul((double)m.lower[a], spacing);
            high[a] = (float)mul((double)(m.lower[a] + m.last[a]), spacing);
            origin[a] = 0x41380000 + (int)m.lower[a];
        }
    }
    static DEVICE bool serves(const Mesh& m) {
        bool near = sizeof(REAL) == 4 && m.inverse > 1e-20 && m.inverse < 1e20;
        near = near && (__double_as_longlong(m.inverse) & 0xFFFFFFFFFFFFF) == 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) near = near && m.lower[a] > -524287 && m.lower[a] + m.last[a] < 524287;
        return near;
    }
    DEVICE bool inside(const REAL* x) const {
        bool all = true;
        #pragma unroll
        for (int a = 0; a < D; ++a) all = all && x[a] >= (REAL)low[a] && x[a] < (REAL)high[a];
        return all;
    }
    DEVICE bool from(const REAL* x, u32& node, double* share) const {
        u32 index = 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const double q = mul((double)x[a], mesh.inverse), floor = floored(q);
            share[a] = sub(q, sub(floor, FLOOR_ONE));
            index += ((u32)__double2loint(floor) - (u32)mesh.lower[a]) * mesh.stride[a];
        }
        const bool here = inside(x);
        node = here ? index : 0;
        return here;
    }
    DEVICE bool to(const REAL* x, u32& node, u32 (&upper)[D]) const {
        node = 0;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            // 1.5 * 2**20, and half a weight's unit: 2**-17.
            const double q = __dadd_rd(mul((double)x[a], mesh.inverse), 1572864.0 + 1.0 / 131072.0);
            node += (u32)(__double2hiint(q) - origin[a]) * mesh.stride[a];
            upper[a] = (u32)__double2loint(q) >> 16;
        }
        return inside(x);
    }
};

// --- counters --------------------------------------------------------------------------------------------------------

// In the shared memory of the block, in 32 bits.
struct Shared {
    u32* at;
    DEVICE void operator()(u32 node, u32 weight) const { if (weight) atomicAdd(at + node, weight); }
};
struct Global {
    u64* at;
    DEVICE void operator()(u32 node, u32 weight) const { if (weight) atomicAdd(at + node, (u64)weight); }
};

// Particles that a block may add to its counters between two carries: below 2**31 before, they stay below 2**32.
#define CARRY 32767u

// Move what is in counters of at least `least` to the global ones. Begins and ends with a barrier.
DEVICE void carry(u32* counter, u32 nodes, u32 least, u64* count) {
    __syncthreads();
    for (u32 k = threadIdx.x; k < nodes; k += blockDim.x) {
        const u32 here = counter[k];
        if (here >= least) {
            atomicAdd(count + k, (u64)here);
            counter[k] = 0;
        }
    }
    __syncthreads();
}

// --- the step of a group -----------------------------------------------------------------------------------------------

// The words from `first` on, of a group.
DEVICE void words_of(u64 first, const Noise& noise, u32 (&out)[GROUP]) {
    #if D == 3
    u32 near[4], far[4] = {0, 0, 0, 0};
    const u32 lane = (u32)first & 3;
    philox(first >> 2, noise, near);
    if (lane > 1) philox((first >> 2) + 1, noise, far);
    out[0] = lane == 0 ? near[0] : lane == 1 ? near[1] : lane == 2 ? near[2] : near[3];
    out[1] = lane == 0 ? near[1] : lane == 1 ? near[2] : lane == 2 ? near[3] : far[0];
    out[2] = lane == 0 ? near[2] : lane == 1 ? near[3] : lane == 2 ? far[0] : far[1];
    #else
    philox(first >> 2, noise, out);
    #endif
}

// Move the particles of a group that begins at x, whose noise begins at the word `first`, and count their new weights. `off` grows by those that were off the
// mesh before, `left` by those that left it.
template <class Place, class Field, class Count>
DEVICE void step_group(REAL* x, u64 size, bool vectors, u64 first, const Noise& noise, const float* table,
                       const Place& place, const Field& field, const Motion& motion, const Count& count,
                       u32& left, u32& off) {
    REAL group[GROUP];
    read_group(x, size, vectors, group);
    u32 word[GROUP];
    words_of(first, noise, word);
    bool before[CROWD], after[CROWD], all = true;
    #pragma unroll
    for (int p = 0; p < CROWD; ++p) {
        REAL* here = group + p * D;
        double share[D], force[D];
        u32 node, upper[D], weight[1 << D];
        before[p] = place.from(here, node, share);
        Linear<0, Field>::at(field, place.mesh, node, share, force);
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const REAL next = moved(here[a], force[a], normal(word[p * D + a], table), motion);
            here[a] = before[p] ? next : here[a];
        }
        after[p] = place.to(here, node, upper) && before[p];
        all = all && after[p];
        corner_weights(upper, weight);
        if (after[p]) {
            #pragma unroll
            for (int c = 0; c < 1 << D; ++c) count(node + corner_step(c, place.mesh), weight[c]);
        }
    }
    write_group(x, size, vectors, group);
    if (!all) {
        #pragma unroll
        for (int p = 0; p < CROWD; ++p) {
            if ((p + 1) * D <= size) {
                off += !before[p];
                left += before[p] && !after[p];
            }
        }
    }
}
