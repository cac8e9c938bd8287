"""The experiments of a pool: directories of finished runs, opened to be read, with one dictionary and one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ipsdist.config import RunConfig, resolve
from ipsdist.model.dictionary import Dictionary
from ipsdist.model.errors import InputError
from ipsdist.model.radial import RadialKernel
from ipsdist.runs.directory import CONFIG, STORE, configured, has_store
from ipsdist.runs.fingerprints import fingerprints
from ipsdist.runs.inputs import known_digests
from ipsdist.runs.order import STAGES
from ipsdist.stages.base import setup_of
from ipsdist.stages.equations import EQUATIONS
from ipsdist.stages.particles import PARTICLES
from ipsdist.stages.radial import HELD, has_radial, held, radial_basis
from ipsdist.storage import Place, Store, place

__all__ = ["Opened", "open_experiments"]


@dataclass(frozen=True)
class Opened:
    """The directory of a finished run."""

    name: str
    """Its last part where that tells the experiments apart, else the path as given."""
    path: Place
    config: RunConfig
    """As it was run, with the dictionary of the pool."""
    store: Store
    particles: str
    """Fingerprint of its particles."""


def open_experiments(directories: Sequence[str | Path | Place], sets: Sequence[str] = ()) -> list[Opened]:
    """Open the directories of finished runs, in the order given; nothing in them is written.

    The dictionary is that of the first, or what ``sets`` says; experiments that were assembled for another one are
    configured to project it from their radial equations. ``sets`` may change `fit` as well, for all of them.

    Raises InputError for fewer than two, one given twice or with the particles of another, what is not finished or of
    the strong form, a sigma**2 that the weak form has to learn, unlike forms or unknown fields, a selection other than
    best_subset, and a term that an experiment cannot tell of.
    """
    if isinstance(directories, str | Path | Place):
        raise InputError("directories", "must be a list of directories", repr(str(directories)), 'pool(["a", "b"])')
    paths = [place(d) for d in directories]
    if len(paths) < 2:
        fix = "for a single one, use `ipsdist report DIR`"
        raise InputError("DIR", "must be the directories of at least two runs", len(paths), fix)
    texts = [path.same() for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if texts.count(text) > 1:
            raise InputError("DIR", "must not be given twice", path, "its data would count twice")
    _only_of_the_fit(sets)
    short = [text.rpartition("/")[2] for text in texts]
    names = [_readable(name) for name in (short if len(set(short)) == len(short) else map(str, paths))]
    found = [_opened(name, path, sets) for name, path in zip(names, paths, strict=True)]
    _comparable(found)
    first = resolve(configured(paths[0]), sets)
    return [_with_terms(one, first) for one in found]


def _readable(name: str) -> str:
    """Return a file name for people: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", errors="replace").decode("utf-8")


def _only_of_the_fit(sets: Sequence[str]) -> None:
    for item in sets:
        key = item.partition("=")[0].strip()
        if key != "dictionary.terms" and not key.startswith("fit."):
            fix = "change the runs themselves with `ipsdist fit DIR --set ...`"
            raise InputError("--set", "must be dictionary.terms or a key of fit in a pool", repr(item), fix)


def _opened(name: str, path: Place, sets: Sequence[str]) -> Opened:
    """Open one directory with its own dictionary. Raises InputError where its equations cannot be used."""
    before = resolve(configured(path))
    finish = f"finish it with `ipsdist run {path / CONFIG} --out {path}`"
    if not has_store(path):
        raise InputError("DIR", "must be of a finished run", f"{path}, which has no store yet", finish)
    store = Store.open(path / STORE)
    prints = fingerprints(STAGES, before, known_digests(store, before) or {})
    done = store.record(f"{EQUATIONS.name}/done")
    if done is None or done["fingerprint"] != prints[EQUATIONS.name]:
        raise InputError("DIR", "must be of a finished run", f"{path}, whose equations are not done", finish)
    config = resolve(configured(path), [item for item in sets if not item.startswith("dictionary.")])
    again = f"`ipsdist assemble {path} --set fit.form=action` makes others"
    if config.form == "strong":
        got = f"{path}, of the strong form"
        raise InputError("DIR", "must have equations of a form that is a likelihood", got, again)
    if config.form == "weak" and config.estimates_diffusion:
        rule = "must know sigma^2 in the weak form, where it is learnt with the kernel otherwise"
        raise InputError("DIR", rule, path, f"`ipsdist fit {path} --set system.diffusion=...` tells it")
    wanted, made = EQUATIONS.keys(config), dict(EQUATIONS.keys(before))
    if "hats" not in wanted:  # those that break points were sought in are more than a pool needs
        made.pop("hats", None)
    if wanted != made:
        got = f"{' '.join(sets)}, for which {path} has no equations"
        fix = f"`ipsdist assemble {path} --set ...` makes them"
        raise InputError("--set", "must leave the equations of the experiments as they are", got, fix)
    if config.selection != "best_subset":
        got, fix = f"{config.selection} in {path}", "add --set fit.selection=best_subset"
        raise InputError("fit.selection", "must be best_subset in a pool", got, fix)
    return Opened(name, path, config, store, prints[PARTICLES.name])


def _comparable(found: Sequence[Opened]) -> None:
    """Check that every experiment has particles of its own, and that form and unknown fields are the same in all."""
    first = found[0]
    for number, one in enumerate(found):
        for other in found[:number]:
            if one.particles == other.particles:
                got = f"{other.path} and {one.path}, which hold the same"
                raise InputError("DIR", "must hold other particles in every experiment", got, "leave one out")
        if one.config.form != first.config.form:
            got = f"{first.config.form} in {first.path} and {one.config.form} in {one.path}"
            fix = "with labels and close slices or not, --set fit.form=action suits all"
            raise InputError("fit.form", "must be the same in all experiments", got, fix)
        if _fields(one) != _fields(first):
            got = f"{_fields(first)} in {first.path} and {_fields(one)} in {one.path}"
            fix = f"`ipsdist assemble {one.path} --set dictionary.potentials=...` changes them"
            raise InputError("dictionary.potentials", "must be the same in all experiments, drift too", got, fix)


def _fields(one: Opened) -> str:
    """Return the unknown potentials and drifts of an experiment in words; the dimension counts where there are any."""
    names = [field.name for field in one.config.unknowns().fields]
    return f"{', '.join(names)} (d = {one.config.system.dimension})" if names else "none"


def _with_terms(one: Opened, first: RunConfig) -> Opened:
    """Return the experiment with the dictionary of the first, projected where it was assembled for another.

    Raises InputError, naming experiment and term, where its radial equations do not hold one or there are none.
    """
    own = one.config.dictionary
    dictionary = own.model_copy(
        update={"terms": first.dictionary.terms, "cutoff": first.dictionary.cutoff, "assembled": None}
    )
    config = one.config.model_copy(update={"dictionary": dictionary})
    assembled = one.config.assembled()
    if _functions(config.terms()) == _functions(assembled):
        return replace(one, config=config)
    fix = f"leave it out, or `ipsdist assemble {one.path} --set 'dictionary.terms=[...]'`"
    if not has_radial(config, setup_of(one.store)):
        lacks = [t for t in config.terms() if _function(t) not in _functions(assembled)]
        what = lacks[0].name if lacks else "another order"
        rule = "must be those that an experiment was assembled for, where it has no radial equations"
        raise InputError("dictionary.terms", rule, f"{what} for {one.path} (d = {config.system.dimension})", fix)
    for term, error in zip(config.terms(), held(config.terms(), radial_basis(one.store)), strict=True):
        if not error <= HELD:
            rule = f"must be held by the radial equations of every experiment to {HELD:g}"
            raise InputError("dictionary.terms", rule, f"{term.name} in {one.path}, off by {error:.1g}", fix)
    dictionary = dictionary.model_copy(update={"assembled": assembled.names})
    return replace(one, config=config.model_copy(update={"dictionary": dictionary}))


def _functions(dictionary: Dictionary) -> list[object]:
    return [_function(term) for term in dictionary]


def _function(term: RadialKernel) -> object:
    """Return what a term is as a function: its cut-off counts only where it is unbounded at 0."""
    singular = any(part.unbounded_at_zero() for part in term.pieces[0][1].summands())
    return term.pieces, term.cutoff if singular else None
