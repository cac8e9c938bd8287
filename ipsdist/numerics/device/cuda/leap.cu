// Many steps of small systems on a line in one launch: a block takes a replica after the other, and finds the drift
// itself, with the bits of device/lag_sums.py, device/step.py and forces/mesh.py. D: 1. REAL: float or double.
//
// Shared memory, in this order, with `nodes` nodes: forces (2 nodes - 1) and weights (nodes) in double, drift (nodes)
// in REAL, counters (nodes) in 32 bits, which hold all of at most 65535 particles. Right for any grid and block.

#include "stepping.cuh"

struct Line {
    double *forces, *weights;
    DRIFT* drift;
    u32* counter;
};

// The drift at the nodes from the weights: sum_b forces[a - b + nodes - 1] weights[b] + external[a], b increasing.
DEVICE void find_drift(const Line& line, int nodes, const double* __restrict__ external) {
    for (int a = threadIdx.x; a < nodes; a += blockDim.x) {
        const double* lag = line.forces + (a + nodes - 1);
        double sum = 0.0;
        #pragma unroll 8
        for (int b = 0; b < nodes; ++b) sum = add(sum, mul(lag[-b], line.weights[b]));
        line.drift[a] = (DRIFT)add(sum, __ldg(external + a));
    }
}

// One step of a replica; the counters begin at 0. Begins and ends with a barrier.
template <class Place>
DEVICE void step_line(REAL* x, u32 n, const Noise& noise, const Table& table, const Place& place, const Line& line,
                      const Motion& motion, const Lost& lost) {
    const Packed field = {line.drift};
    const Shared counts = {line.counter};
    const bool vectors = aligned(x);
    __syncthreads();
    for (u32 g = threadIdx.x; g * GROUP < n; g += blockDim.x)
        step_group(x + g * GROUP, (i64)n - g * GROUP, vectors, g, noise, table, place, field, motion, counts, lost);
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(1024)
leap(REAL* __restrict__ x, u32 n, u32 replicas, const double* __restrict__ table_of_forces,
     const double* __restrict__ external, i64 lower, u32 nodes, double inverse, double dt, double scale,
     const float* __restrict__ table, u32 number, u32 steps, const u32* __restrict__ streams, u32 low, u32 high,
     u64* count, u32* done, u32* lost) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ float rows[TABLE + 1];
    __shared__ u32 gone[2];
    const Mesh mesh = mesh_of(lower, 0, 0, nodes, 1, 1, inverse);
    const Motion motion = {dt, scale};
    const Lost losses = {gone};
    Line line;
    line.forces = reinterpret_cast<double*>(memory);
    line.weights = line.forces + (2 * mesh.nodes - 1);
    line.drift = reinterpret_cast<DRIFT*>(line.weights + mesh.nodes);
    line.counter = reinterpret_cast<u32*>(line.drift + mesh.nodes);
    for (int k = threadIdx.x; k < 2 * mesh.nodes - 1; k += blockDim.x) line.forces[k] = __ldg(table_of_forces + k);
    const bool near = Near::serves(mesh);
    for (u32 replica = blockIdx.x; replica < replicas; replica += gridDim.x) {
        u64* counts = count + (u64)replica * nodes;
        REAL* mine = x + (u64)replica * n;
        Noise noise = {number, __ldg(streams + replica), low, high};
        if (threadIdx.x == 0) gone[0] = gone[1] = 0;
        for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) line.counter[k] = (u32)counts[k];
        // What its barrier lets all threads see: table, forces, counters, losses.
        const Table normals = fetch_table(rows, table);
        u32 step = 0;
        while (step < steps && gone[0] + gone[1] == 0) {
            for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) {
                line.weights[k] = (double)line.counter[k];
                line.counter[k] = 0;
            }
            __syncthreads();
            find_drift(line, mesh.nodes, external);
            if (near)
                step_line(mine, n, noise, normals, Near(mesh, 0), line, motion, losses);
            else
                step_line(mine, n, noise, normals, Anywhere(mesh, 0), line, motion, losses);
            ++noise.number;
            ++step;
        }
        for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) counts[k] = line.counter[k];
        if (threadIdx.x == 0) {
            done[replica] = step;
            lost[replica] = gone[0] + gone[1];
        }
        __syncthreads();
    }
}
