"""Every rule of the run file: what breaks it is refused in one line with the key, the rule, what came and the fix."""

import pytest
from pydantic import ValidationError

from ipsdist.config import RunConfig, resolve
from ipsdist.config.messages import _section
from ipsdist.model.errors import InputError
from ipsdist.model.system import Ring

RULES = [
    # unknown keys and sections
    ("system.particle=3", "`system.particle` is not a known key; did you mean system.particles?"),
    ("sytem.particles=3", "`sytem` is not a known section; did you mean system?"),
    ("seed=3", "`seed` is not a known key; did you mean run.seed?"),
    ("fit.bandwith=1", "`fit.bandwith` is not a known key; did you mean density.bandwidth?"),
    (
        "initial.mixture=[{weight=1.0,mean=0.0,varience=1.0}]",
        "`initial.mixture[0].varience` is not a known key; did you mean initial.mixture.variance?",
    ),
    # types
    ("system.diffusion=x", '`system.diffusion` must be a positive number; got "x"; for example diffusion = 2.0'),
    ("system=3", "`system` must be a table of keys; got 3"),
    ("fit.scale_columns=1", "`fit.scale_columns` must be true or false; got 1; the default is true"),
    ("system.kernel=3", '`system.kernel` must be a formula in quotes; got 3; for example kernel = "3*r**2"'),
    ("system.dimension=true", "`system.dimension` must be 1, 2 or 3; got true; the default is 1"),
    (
        "dictionary.terms=r",
        '`dictionary.terms` must be a list of formulas in quotes; got "r"; for example terms = ["1", "r", "r**2"]',
    ),
    (
        "dictionary.terms=['r', 1]",
        '`dictionary.terms` must be a list of formulas in quotes; got 1; for example terms = ["1", "r", "r**2"]',
    ),
    (
        "initial.mixture=[{weight=1.0,mean=0.0}]",
        "`initial.mixture[0].variance` is required; got nothing; for example variance = 0.25",
    ),
    (
        "initial.ring=[1, 2]",
        "`initial.ring` must be a table with radius and variance; got [1, 2]; "
        "for example ring = {radius = 1.0, variance = 0.01}",
    ),
    # ranges and choices
    ("system.diffusion=-1", "`system.diffusion` must be a positive number; got -1; for example diffusion = 2.0"),
    ("system.diffusion=nan", "`system.diffusion` must be a positive number; got nan; for example diffusion = 2.0"),
    (
        "system.particles=0",
        "`system.particles` must be a whole number from 2 to 2**31 - 1; got 0; for example particles = 20000",
    ),
    (
        "system.particles=10000.5",
        "`system.particles` must be a whole number from 2 to 2**31 - 1; got 10000.5; for example particles = 20000",
    ),
    ("system.dimension=4", "`system.dimension` must be 1, 2 or 3; got 4; the default is 1"),
    ("fit.alpha=2", "`fit.alpha` must be a number between 0 and 1; got 2; the default is 0.3"),
    ("run.seed=-1", "`run.seed` must be a whole number from 0 to 2**64 - 1; got -1; the default is 0"),
    (
        "fit.form=firm",
        '`fit.form` must be "auto", "strong", "weak", "likelihood" or "action"; got "firm"; the default is "auto"',
    ),
    (
        "density.bandwidth=wide",
        '`density.bandwidth` must be "scott", "silverman", "isj", "self_consistent" or a positive number; '
        'got "wide"; the default is "scott"',
    ),
    (
        "name=../x",
        "`name` must be at most 64 letters, digits, _ . - and not start with . or -; "
        'got "../x"; for example name = "cubic"',
    ),
    # times
    (
        "time.step=3e-4",
        "`time.step` must divide time.horizon; got horizon 1 and step 0.0003, 3333.33 steps; "
        "time.step = 0.000300030003 would do",
    ),
    (
        "time.step=0.04",
        "`time.observe_every` must divide the number of steps; got 10 for 25 steps; time.observe_every = 5 would do",
    ),
    (
        "time.observe_every=30",
        "`time.observe_every` must divide the number of steps; got 30 for 10000 steps; "
        "time.observe_every = 25 would do",
    ),
    ("time.step=1e-30", "`time.step` must give fewer than 2**32 steps; got 1e+30 steps; use a larger time.step"),
    (
        "time.step=3.0",
        "`time.step` must divide time.horizon; got horizon 1 and step 3, 0.333333 steps; time.step = 1 would do",
    ),
    (
        "time.positions_at=[0.5, 0.00015]",
        "`time.positions_at` must be slice times; got 0.00015; give multiples of 0.001 up to 1",
    ),
    (
        "time.positions_at=[1.001]",
        "`time.positions_at` must be slice times; got 1.001; give multiples of 0.001 up to 1",
    ),
    # initial laws
    (
        "initial.mixture=[{weight=0.5,mean=1.0,variance=1.0}]",
        "`initial.mixture` must have weights that sum to 1; got 0.5; divide the weights by 0.5",
    ),
    ("initial.mixture=[]", "`initial.mixture` must have weights that sum to 1; got 0; give at least one normal"),
    (
        "initial.mixture=[{weight=-1.0,mean=0.0,variance=1.0}]",
        "`initial.mixture[0].weight` must be a positive number; got -1.0; for example weight = 0.5",
    ),
    (
        "initial.mixture=[{weight=1.0,mean=[1.0,2.0],variance=1.0}]",
        "`initial.mixture[0].mean` must have one entry an axis, 1 for system.dimension = 1; got 2; "
        "one number stands for all axes",
    ),
    (
        "initial.uniform={lower=1,upper=0}",
        "`initial.uniform.lower` must be below initial.uniform.upper; got 1 and 0; exchange the two",
    ),
    (
        "initial.ring={radius=1.0,variance=0.1}",
        "`initial.ring` needs system.dimension 2 or 3; got 1; on a line, use initial.mixture with two normals",
    ),
    # grid
    ("grid.lower=5", "`grid.lower` must be below grid.upper; got 5 and 4; exchange the two"),
    (
        "grid.cells=[10,20]",
        "`grid.cells` must have one entry an axis, 1 for system.dimension = 1; got 2; one number stands for all axes",
    ),
    ("grid.cells=2", "`grid.cells` must be at least 4 an axis; got 2; for example grid.cells = 160"),
    ("grid.cells=100000000", "`grid.cells` must be at most 2**26 in all; got 100000000; use fewer cells"),
    # formulas
    (
        "system.kernel=1/r",
        "`system.kernel` has 1/r unbounded at r = 0 and no cut-off; got 1/r; "
        "set system.cutoff, for example system.cutoff = 0.05",
    ),
    (
        "system.kernel=os.system(1)",
        "`system.kernel` has a forbidden name 'os'; got 'os.system(1)'; "
        "allowed are numbers, r, exp, log, sin, cos, sqrt, abs, sign and + - * / ** ( )",
    ),
    ("system.kernel=r**(10**9)", "`system.kernel` must have exponents between -64 and 64; got 'r**(10**9)'"),
    (
        "system.potential=r**2",
        "`system.potential` has a forbidden name 'r'; got 'r**2'; "
        "allowed are numbers, x, exp, log, sin, cos, sqrt, abs, sign and + - * / ** ( )",
    ),
    (
        "system.potential=log(x)",
        "`system.potential` must be a finite real number with its derivatives everywhere, and is not at x = -3.1; "
        'got log(x); for example system.potential = "x**2/2"',
    ),
    (
        "dictionary.terms=['r*r', 'r**2']",
        "`dictionary.terms` must not have two equal terms; got r*r and r**2; leave one out",
    ),
    (
        "system.pieces=[{upto=2.0,kernel='r'},{upto=1.0,kernel='r'},{kernel='0'}]",
        "`system.pieces` must have increasing positive ends upto; got [2.0, 1.0]; sort the pieces by distance",
    ),
    # combinations
    (
        "data.source=import",
        '`data.file` is required when data.source = "import"; got nothing; for example data.file = "tracks.npz"',
    ),
    (
        "data.file=/a/x.npz",
        '`data.file` is read only when data.source = "import"; got /a/x.npz; set data.source = "import"',
    ),
]


@pytest.mark.parametrize(("item", "message"), RULES, ids=[item for item, _ in RULES])
def test_one_wrong_key(item, message):
    """One key that breaks its rule, set over a good case."""
    with pytest.raises(InputError) as refused:
        resolve("cubic", [item])
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["data.labelled=false", "fit.form=likelihood"],
            '`fit.form` must not be likelihood when data.labelled = false; got "likelihood"; '
            'use fit.form = "action", which needs no labels',
        ),
        (
            ["fit.form=strong", "fit.selection=best_subset"],
            "`fit.selection` must not be best_subset for the strong form, which has no likelihood to rank models by; "
            'got "best_subset"; use fit.form = "action" or fit.selection = "two_phase"',
        ),
        (
            ["system.dimension=2", "force.method=prefix"],
            '`force.method` must not be prefix when system.dimension > 1; got "prefix"; use force.method = "mesh"',
        ),
        (
            ["system.dimension=2", "initial.mixture=[{weight=1.0,mean=[1.0],variance=1.0}]"],
            "`initial.mixture[0].mean` must have one entry an axis, 2 for system.dimension = 2; got 1; "
            "one number stands for all axes",
        ),
        (
            ["fit.max_terms=12", f"dictionary.terms={[f'r**{k}' for k in range(40)]}"],
            "`fit.max_terms` must leave at most 1000000000 models to compare; got 9119901051 with 12 of 40 terms; "
            "use a smaller fit.max_terms or fewer dictionary.terms",
        ),
        (
            ["system.kernel=r", "system.pieces=[{kernel='r'}]"],
            "`system.kernel` must not stand beside system.pieces; got both; give one of the two",
        ),
        (
            ["initial.file=/a/x.npy", "initial.uniform={lower=-1,upper=1}"],
            "`initial` must have one law; got uniform and file; give one of mixture, uniform, ring, file",
        ),
    ],
)
def test_keys_that_do_not_go_together(sets, message):
    """Combinations are refused by the key that should change."""
    with pytest.raises(InputError) as refused:
        resolve("cubic", sets)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            ("system", "kernel"),
            '`system.kernel` is required; got nothing; for example system.kernel = "3*r**2", or system.pieces',
        ),
        (("system", "particles"), "`system.particles` is required; got nothing; for example system.particles = 20000"),
        (("system", "diffusion"), "`system.diffusion` is required; got nothing; for example system.diffusion = 2.0"),
        (("time", "horizon"), "`time.horizon` is required; got nothing; for example time.horizon = 1.0"),
        (("time", "step"), "`time.step` is required; got nothing; for example time.step = 1e-4"),
        (
            ("initial", "mixture"),
            "`initial` must have one law; got none; for example initial.uniform = {lower = -1.0, upper = 1.0}",
        ),
    ],
)
def test_a_simulation_needs(missing, message):
    """What a simulation cannot do without is asked for, with an example."""
    values = resolve("cubic").model_dump(exclude_none=True)
    del values[missing[0]][missing[1]]
    with pytest.raises(InputError) as refused:
        RunConfig.build(values)
    assert str(refused.value) == message


def test_every_key_has_a_meaning_and_a_rule():
    """No key of any section is without a description and a rule."""
    waiting = [RunConfig]
    seen = 0
    while waiting:
        model = waiting.pop()
        for name, field in model.model_fields.items():
            inner = _section(field)
            if inner is not None:
                waiting.append(inner)
            if inner is None:
                seen += 1
                assert field.description, name
                assert field.json_schema_extra["rule"], name
    assert seen > 40


def test_frozen():
    """A configuration cannot be changed."""
    with pytest.raises(ValidationError, match="frozen"):
        resolve("cubic").system.particles = 3


def test_values_of_the_plane():
    """Numbers stand for all axes; lists give one an axis; the ring and the potential are values of the model."""
    sets = ["system.dimension=2", "system.potential=x**2/2 + y**4", "initial.ring={radius=1.0,variance=0.25}"]
    config = resolve("cubic", [*sets, "grid.cells=[32, 64]", "grid.lower=[-4, -3]"])
    assert config.initial_law() == Ring(1.0, 0.25)
    grid = config.density_grid()
    assert (grid.lower, grid.upper, grid.cells) == ((-4.0, -3.0), (4.0, 4.0), (32, 64))
    assert config.system_value().potential.variables == ("x", "y")


@pytest.mark.parametrize(("step", "slices"), [("0.1", 2), ("0.05", 3), ("1e-3", 101), ("1e-4", 1001)])
def test_steps_that_divide_up_to_rounding(step, slices):
    """1.0 / 0.1 and 1.0 / 1e-4 are no whole floats, and whole steps all the same."""
    assert resolve("cubic", [f"time.step={step}"]).times().slices == slices


def test_form_and_selection_resolve():
    """By default it is the action form with best subset; the strong form takes the two phases; the reason is told."""
    strong = resolve("cubic", ["fit.form=strong"])
    assert (strong.form, strong.selection, strong.form_reason) == ("strong", "two_phase", "named by fit.form")
    assert resolve("cubic").form_reason.startswith("default: ")
    assert resolve("cubic", ["fit.selection=two_phase"]).selection == "two_phase"
