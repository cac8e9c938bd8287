"""All CUDA text compiles for the GPUs that it is meant for, and no kernel spills registers; no GPU is needed."""

import re
from importlib.resources import files

import numpy as np
import pytest

from ipsdist.arrays import NoDeviceError
from ipsdist.arrays.compiling import OPTIONS, Resources, compile_text, resources
from ipsdist.model.radial import RadialKernel
from ipsdist.numerics.device.cuda import text
from ipsdist.numerics.particles.device_pieces import step_grid
from ipsdist.numerics.particles.forces.device_direct import pairs_text
from tests.host_device import HostDevice

ARCHITECTURES = ["sm_80", "sm_90"]
PARTICLES = {
    "step", "move", "pack", "deposit", "deposit_near", "flux", "flux_near", "squares", "extent", "off", "draw_mixture",
    "draw_uniform",
}  # fmt: skip
MOST_REGISTERS = 128
"""Of a thread: 512 threads then fit a multiprocessor."""
SINE = RadialKernel.parse("exp(-r)*sin(3*r)+sign(r-1)*log(1+r)+(1+r)**0.3")
KERNELS = [
    RadialKernel.parse("3*r**2"), RadialKernel.parse("r-r**-1.5", 0.05), SINE,
    RadialKernel.from_pieces([(1.5, "1-1/r"), (2.0, "r"), (None, "0")], 0.05),
]  # fmt: skip


def _compiled(source, architecture):
    try:
        code, log = compile_text(source, architecture)
    except NoDeviceError as error:
        pytest.skip(str(error))
    assert code.startswith(b"\x7fELF")
    return resources(log)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("nodes", [16, 20_000, 10**6])
def test_particles(architecture, real, dimension, nodes):
    """Every entry is there; none spills; the threads that a multiprocessor is given fit its registers."""
    grid = step_grid(HostDevice(), nodes, dimension, 4 if real == "float" else 8)
    lies = {"NODES": int(grid.counters), "FIELD": int(grid.field), "PACKED": int(grid.packed)}
    found = _compiled(text("particles", D=dimension, REAL=real, **lies), architecture)
    assert set(found) == PARTICLES
    assert not {name: r for name, r in found.items() if r.spills}
    registers = found["step"].registers + -found["step"].registers % 8
    assert registers * grid.threads * grid.resident <= 65536
    assert found["step"].stack == 0
    assert max(found[name].registers for name in ("deposit_near", "flux_near")) <= 64


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
def test_leap(architecture, real):
    """Many steps in one launch, without spills."""
    found = _compiled(text("leap", D=1, REAL=real), architecture)
    assert set(found) == {"leap"}
    assert (found["leap"].spills, found["leap"].stack) == (0, 0)
    assert found["leap"].registers <= MOST_REGISTERS


@pytest.mark.parametrize("real", ["float", "double"])
def test_leap_knows_what_memory_it_reads(real):
    """Positions, whose addresses lie in memory, are read and written as global ones, several numbers at a time."""
    nvrtc = pytest.importorskip("cupy").cuda.nvrtc
    program = nvrtc.createProgram(text("leap", D=1, REAL=real), "text.cu", (), ())
    nvrtc.compileProgram(program, ("--gpu-architecture=compute_90", *OPTIONS))
    code = nvrtc.getPTX(program)
    found = set(re.findall(r"\b(?:ld|st)\.[\w.]+", code if isinstance(code, str) else code.decode()))
    vector = "v4.f32" if real == "float" else "v2.f64"
    assert {f"ld.global.{vector}", f"st.global.{vector}"} <= found
    assert not [name for name in found if not re.match(r"(ld|st)\.(global|shared|param)\.", name)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
@pytest.mark.parametrize(
    ("kept", "arithmetic", "fast"),
    [(np.float64, np.float64, False), (np.float32, np.float64, False), (np.float32, np.float32, False),
     (np.float32, np.float32, True)],
)  # fmt: skip
def test_pairs(architecture, kernel, kept, arithmetic, fast):
    """Pair sums of any kernel; where no sine needs a table of digits of pi, all is in registers."""
    for dimension in (1, 2, 3):
        found = _compiled(pairs_text(kernel, dimension, kept, arithmetic, fast), architecture)
        assert set(found) == {"pairs"}
        assert found["pairs"].spills == 0
        assert found["pairs"].registers <= 64
        assert found["pairs"].stack == 0 or (kernel is SINE and not fast)


def test_no_text_is_forgotten():
    """The programs of the folder are those that are compiled here."""
    folder = files("ipsdist.numerics.device.cuda")
    assert {entry.name for entry in folder.iterdir() if entry.name.endswith(".cu")} == {
        "leap.cu", "pairs.cu", "particles.cu",
    }  # fmt: skip


def test_wrong_text_says_where():
    """The log of the compiler is in the error."""
    with pytest.raises(
        RuntimeError, match=r'(?s)NVRTC refused the text for sm_90.*text.cu\(1\).*"nowhere" is undefined'
    ):
        _compiled('extern "C" __global__ void f(int* x) { x[0] = nowhere; }', "sm_90")


def test_spills_are_seen():
    """A kernel that must spill: more numbers alive than registers."""
    body = "".join(f"double a{i} = x[{i} * n];" for i in range(160))
    ends = "".join(f"x[{i} * n] = a{(i * 7 + 3) % 160} / a{i};" for i in range(160))
    source = f'extern "C" __global__ void __launch_bounds__(512) f(volatile double* x, int n) {{ {body} {ends} }}'
    found = _compiled(source, "sm_90")["f"]
    assert found.spills > 0
    assert found.stack > 0
    assert found.registers <= MOST_REGISTERS


def test_shared_memory_is_seen():
    """Static shared memory, and two kernels in one text."""
    body = "__shared__ int s[{}]; s[x[0]] = 1; __syncthreads(); x[1] = s[x[2]];"
    source = f'extern "C" __global__ void {{}}(int* x) {{{{ {body} }}}}'
    found = _compiled(source.format("a", 100) + source.format("b", 7), "sm_80")
    assert (found["a"].shared, found["b"].shared) == (400, 28)


def test_no_contraction():
    """A product and a sum stay two operations: the machine code of fma is another one."""

    def code(body):
        source = f'extern "C" __global__ void f(double* x) {{ x[0] = {body}; }}'
        _compiled(source, "sm_90")
        return compile_text(source, "sm_90")[0]

    written = code("__dadd_rn(__dmul_rn(x[1], x[2]), x[3])")
    assert code("x[1] * x[2] + x[3]") == written
    assert code("fma(x[1], x[2], x[3])") != written


def test_log_of_another_compiler():
    """nvcc writes the same without its own prefix; what is no log is refused."""
    log = (
        "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'f' for 'sm_90'\n"
        "ptxas info    : Function properties for f\n"
        "    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n"
        "ptxas info    : Used 30 registers, used 1 barriers, 400 bytes smem, 368 bytes cmem[0]\n"
    )
    assert resources(log) == {"f": Resources(30, 16, 12, 400)}
    assert resources("") == {}
    with pytest.raises(ValueError, match="the log says nothing of f"):
        resources("Compiling entry function 'f' for 'sm_90'\n")
