// Initial positions: twins of particles/initial.py. Done once a replica, so every number makes its own Philox block.

// Word q of a stream.
DEVICE u32 word_of(u64 q, const Noise& noise) {
    u32 word[4];
    philox(q >> 2, noise, word);
    const u32 lane = (u32)q & 3;
    return lane == 0 ? word[0] : lane == 1 ? word[1] : lane == 2 ? word[2] : word[3];
}

// What the counter's step says: uniforms or normals that place a particle, and the uniform that chooses its mode.
#define POSITION 0
#define CHOICE 1

// Modes with edges (m) of their cumulated weights, means (m, D) and standard deviations (m).
extern "C" __global__ void
draw_mixture(REAL* __restrict__ x, u64 n, u64 first, const float* __restrict__ table, u32 normals_stream,
             u32 uniforms_stream, u32 low, u32 high, const double* __restrict__ edges,
             const double* __restrict__ means, const double* __restrict__ deviations, u32 modes) {
    __shared__ float rows[TABLE + 1];
    const Table normals = fetch_table(rows, table);
    const Noise place = {POSITION, normals_stream, low, high}, choice = {CHOICE, uniforms_stream, low, high};
    for EVERY(i, n) {
        const double u = uniform(word_of(first + i, choice));
        u32 mode = 0;
        while (mode + 1 < modes && __ldg(edges + mode) <= u) ++mode;
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const float xi = normal(word_of((first + i) * D + a, place), normals);
            x[i * D + a] = (REAL)add(__ldg(means + mode * D + a), mul(__ldg(deviations + mode), (double)xi));
        }
    }
}

// A box from its lower corner (D) with sides `extent` (D).
extern "C" __global__ void
draw_uniform(REAL* __restrict__ x, u64 n, u64 first, u32 uniforms_stream, u32 low, u32 high,
             const double* __restrict__ lower, const double* __restrict__ extent) {
    const Noise place = {POSITION, uniforms_stream, low, high};
    for EVERY(i, n) {
        #pragma unroll
        for (int a = 0; a < D; ++a) {
            const double u = uniform(word_of((first + i) * D + a, place));
            x[i * D + a] = (REAL)add(__ldg(lower + a), mul(__ldg(extent + a), u));
        }
    }
}
