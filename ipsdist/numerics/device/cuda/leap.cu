// Many steps of small systems on a line in one launch: a block takes a job after the other, which is a replica with a
// mesh, forces, noise and steps of its own, and finds the drift itself, with the bits of device/lag_sums.py,
// device/step.py and forces/mesh.py. D: 1. REAL: float or double, of all jobs.
//
// Shared memory, in this order, with `nodes` nodes of the job at hand: its words, forces (2 nodes - 1) and weights
// (nodes) in double, drift (nodes) in REAL, counters (nodes) in 32 bits, which hold all of at most 65535 particles.
// Right for any grid and block.

#include "stepping.cuh"

// The fields of a job, a row of JOB_WORDS 64-bit words: addresses, doubles by their bits, integers; twin of
// device_leap.job_words. What a job gives back begins at word BACK of `back`: steps done, particles lost, its counts
// (nodes), which lie there before.
#define JOB_WORDS 16
enum Field {
    POSITIONS, FORCES, EXTERNAL, LOWER, INVERSE, STEP_LENGTH, SCALE, PARTICLES, LINE_NODES, NUMBER, STEPS, STREAM,
    SEED_LOW, SEED_HIGH, BACK
};

// A job in the shared memory of its block: what is read there anew at every step takes no register between two.
struct Job {
    const u64* word;
    DEVICE u64 operator[](int field) const { return word[field]; }
    DEVICE double real(int field) const { return __longlong_as_double((i64)word[field]); }
};

struct Line {
    double *forces, *weights;
    DRIFT* drift;
    u32* counter;
    DEVICE Line(u64* memory, int nodes) {
        forces = reinterpret_cast<double*>(memory);
        weights = forces + (2 * nodes - 1);
        drift = reinterpret_cast<DRIFT*>(weights + nodes);
        counter = reinterpret_cast<u32*>(drift + nodes);
    }
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

// All steps of a job, or as many as it takes until it loses particles. Begins and ends with a barrier.
DEVICE void do_job(const Job& job, u64* memory, u32* gone, const Table& table, u64* back) {
    __syncthreads();
    const Mesh mesh = mesh_of((i64)job[LOWER], 0, 0, (i64)job[LINE_NODES], 1, 1, job.real(INVERSE));
    const Line line(memory, mesh.nodes);
    const Lost losses = {gone};
    const double* forces = reinterpret_cast<const double*>(job[FORCES]);
    for (int k = threadIdx.x; k < 2 * mesh.nodes - 1; k += blockDim.x) line.forces[k] = __ldg(forces + k);
    for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) line.counter[k] = (u32)back[job[BACK] + 2 + k];
    if (threadIdx.x == 0) gone[0] = gone[1] = 0;
    __syncthreads();
    const bool near = Near::serves(mesh);
    u32 step = 0;
    while (step < (u32)job[STEPS] && gone[0] + gone[1] == 0) {
        for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) {
            line.weights[k] = (double)line.counter[k];
            line.counter[k] = 0;
        }
        __syncthreads();
        find_drift(line, mesh.nodes, reinterpret_cast<const double*>(job[EXTERNAL]));
        // As an offset from an argument: so the compiler knows that it is global memory, and nothing asks at run time.
        REAL* x = reinterpret_cast<REAL*>(reinterpret_cast<unsigned char*>(back) + (job[POSITIONS] - (u64)back));
        const u32 n = (u32)job[PARTICLES];
        const Motion motion = {job.real(STEP_LENGTH), job.real(SCALE)};
        const Noise noise = {(u32)job[NUMBER] + step, (u32)job[STREAM], (u32)job[SEED_LOW], (u32)job[SEED_HIGH]};
        if (near)
            step_line(x, n, noise, table, Near(mesh, 0), line, motion, losses);
        else
            step_line(x, n, noise, table, Anywhere(mesh, 0), line, motion, losses);
        ++step;
    }
    u64* mine = back + job[BACK];
    for (int k = threadIdx.x; k < mesh.nodes; k += blockDim.x) mine[2 + k] = line.counter[k];
    if (threadIdx.x == 0) {
        mine[0] = step;
        mine[1] = gone[0] + gone[1];
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(1024)
leap(const u64* __restrict__ jobs, u32 number_of_jobs, const float* __restrict__ table, u64* back) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ float rows[TABLE + 1];
    __shared__ u32 gone[2];
    const Table normals = fetch_table(rows, table);
    u64* const words = reinterpret_cast<u64*>(memory);
    for (u32 j = blockIdx.x; j < number_of_jobs; j += gridDim.x) {
        for (u32 i = threadIdx.x; i < JOB_WORDS; i += blockDim.x) words[i] = __ldg(jobs + (u64)j * JOB_WORDS + i);
        do_job({words}, words + JOB_WORDS, gone, normals, back);
    }
}
