// A stand-in for libnccl.so.2 under CuPy's own binding: every rank of a ring gives the same array, in memory of the host.
#include <cstddef>
#include <cstdint>
#include <cstring>

struct Ring { int size, rank, sums; };
struct Id { char internal[128]; };
static int unusual = 0, aborted = 0;

extern "C" {
void stub_fail(int status) { unusual = status; }
int stub_aborted() { return aborted; }
int ncclGetVersion(int* version) { *version = 23203; return 0; }
const char* ncclGetErrorString(int) { return "the stub says so"; }
int ncclGetUniqueId(Id* id) { for (int i = 0; i < 128; ++i) id->internal[i] = char(i * 3); return unusual; }
int ncclCommInitRankConfig(Ring** ring, int size, Id id, int rank, void*) {
    for (int i = 0; i < 128; ++i) if (id.internal[i] != char(i * 3)) return 4;
    if (unusual) return unusual;
    *ring = new Ring{size, rank, 0};
    return 0;
}
int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Ring* ring, void* stream) {
    if (!ring || type != 5 || op != 0 || stream != (void*)0x7) return 4;  // ncclUint64, ncclSum
    if (unusual) return unusual;
    uint64_t* values = (uint64_t*)to;
    if (from != to) return 4;
    for (size_t i = 0; i < count; ++i) values[i] *= uint64_t(ring->size);
    return 0;
}
int ncclCommGetAsyncError(Ring* ring, int* status) { if (!ring) return 4; *status = unusual; return 0; }
int ncclCommAbort(Ring* ring) { ++aborted; delete ring; return 0; }
int ncclCommDestroy(Ring*) { aborted += 1000; return 0; }
#define UNUSED(name) int name() { return 5; }
UNUSED(ncclAllGather) UNUSED(ncclBcast) UNUSED(ncclBroadcast) UNUSED(ncclCommCount) UNUSED(ncclCommCuDevice)
UNUSED(ncclCommInitAll) UNUSED(ncclCommSplit) UNUSED(ncclCommUserRank) UNUSED(ncclGroupEnd) UNUSED(ncclGroupStart)
UNUSED(ncclRecv) UNUSED(ncclReduce) UNUSED(ncclReduceScatter) UNUSED(ncclSend)
}
