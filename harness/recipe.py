"""A recipe: the YAML that says what is run, validated, with the place of every mistake named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from harness._yaml import BadYamlError, load_yaml, read_yaml
from harness.errors import RecipeError, UnknownNameError
from harness.paths import expanded
from harness.recipe_mistakes import describe
from harness.recipe_overrides import override_key
from harness.recipe_runs import each_run, split_name
from harness.registry import Registry

RECIPES: Registry[Any] = Registry("recipe", "salprobe.recipes")
"""Packages whose *.yaml files are recipes."""

LayerSet = str | list[str] | Annotated[dict[str, list[str]], Field(min_length=1, max_length=1)]
"""A layer or one of the words for many, several layers together, or several under a name: {best: [layer2, layer3]}."""
PositiveInt = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(BaseModel):
    """A plugin by name with its parameters; a plain string is a name without parameters."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the fields of this class, as given."""
        return dict(self.model_extra or {})


class LayeredEntry(Entry):
    """A backbone or a probe: may narrow the layer sets."""

    layers: list[LayerSet] | None = None


class DatasetEntry(Entry):
    """The dataset by its reader's name (`reader: salicon`), with the reader's parameters."""

    name: str = Field(alias="reader")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"reader": value} if isinstance(value, str) else value


class InputSize(_Strict):
    """The network's input: a scale of the stimulus, or one fixed (height, width)."""

    scale: Annotated[float, Field(gt=0, le=4)] = 1.0
    size: tuple[PositiveInt, PositiveInt] | None = None
    test_scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (1.0,)
    """Held-out and new images are seen at these times that size, features are the mean: trained readouts stay."""

    @property
    def other_scales(self) -> str:
        """ "1 and 1.13": what held-out images are seen at; empty where that is the size itself."""
        return "" if self.test_scales == (1.0,) else " and ".join(f"{scale:g}" for scale in self.test_scales)

    @model_serializer(mode="wrap")
    def _as_it_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is as by default and was added later: keys of cells that are finished stay."""
        return {name: value for name, value in handler(self).items() if name != "test_scales" or tuple(value) != (1.0,)}


class Limits(_Strict):
    """The most images of each split."""

    train: PositiveInt | None = None
    test: PositiveInt | None = None


class Cache(_Strict):
    """Training features kept between passes, if they fit."""

    budget_gib: Annotated[float, Field(ge=0)] = 2.0
    """Of all tiers together, on one machine."""
    tiers: list[Literal["device", "host", "disk"]] = ["device", "host", "disk"]
    """Where features may lie; filled in this order, as far as there is room."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """What training features are rounded to, cached or not."""
    keep: bool = False
    """Leave them on disk for later runs of the same network on the same images."""
    folder: str | None = None
    """Where the disk tier is; by default the machine's cache folder."""


class Tracking(_Strict):
    """Where MLflow runs go; `uri: null` is the local store beside the results."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "salience-probe"


class Recipe(_Strict):
    """One benchmark matrix: dataset x backbones x layer sets x probes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    plugins: list[str] = []
    """Python files that define probes, backbones, datasets or metrics; in a file, relative to it."""
    dataset: DatasetEntry
    test_dataset: DatasetEntry | None = None
    """Whose held-out images are scored; by default those of `dataset`, which is then trained on only."""
    backbones: list[LayeredEntry] = []
    layers: Annotated[list[LayerSet], Field(min_length=1)] = ["each", "all"]
    probes: Annotated[list[LayeredEntry], Field(min_length=1)]
    metrics: Annotated[list[str], Field(min_length=1)] = ["cc", "auc", "nss", "sim", "kld", "ig", "sauc", "auc_judd"]
    compare: Annotated[str, Field(validate_default=True)] = ""
    """The metric that ranks the cells and on which every pair of them is tested; empty: cc, or the first without cc."""
    input: InputSize = InputSize()
    grid: PositiveInt | tuple[PositiveInt, PositiveInt] = 32
    """The fitting grid: stimulus pixels a cell (32: 15 x 20 on a 480 x 640 image), or fixed (rows, columns)."""
    folds: Annotated[int, Field(ge=2)] = 5
    seed: int = 0
    limit: PositiveInt | Limits | None = None
    """Use only so many training and so many held-out images, or `{train: 100}` of one split only: the first ones."""
    allow_overlap: bool | list[str] = False
    """Held-out images that may be training images as well: true, or the names of their files."""
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Images at once through the network; `auto` goes by the device and its free memory."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """The network's; `auto` is bf16 (autocast) where the device computes it in hardware, else fp32."""
    compile: bool = False
    """Let torch.compile speed up the network: worth its start-up time on long runs."""
    device: str = "auto"
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that decode images beside the network; 0 decodes in the main process. `auto`: 1, or 8 for a GPU."""
    cache: Cache = Cache()
    save_every_s: Annotated[float, Field(ge=0)] = 60.0
    """Seconds between two saves of a run's unfinished work; less often where saving takes more than 2 % of the time."""
    cell_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds of its own that a cell may take for training and solving, and for its maps; by default any number."""
    pictures: Annotated[int, Field(ge=0)] = 6
    """Held-out images on each run's contact sheet."""
    tracking: Tracking = Tracking()

    def most_images(self, split: Literal["train", "test"]) -> int | None:
        """The limit of that split; None: all there are."""
        if not isinstance(self.limit, Limits):
            return self.limit
        return self.limit.train if split == "train" else self.limit.test

    @property
    def held_out(self) -> DatasetEntry:
        """The dataset whose held-out images are scored."""
        return self.test_dataset or self.dataset

    @property
    def crosses(self) -> bool:
        """Whether it trains on one dataset and tests on another."""
        return self.held_out != self.dataset

    @field_validator("compare")
    @classmethod
    def _one_of_metrics(cls, value: str, info: ValidationInfo) -> str:
        metrics = info.data.get("metrics") or [value]  # absent where metrics itself was refused
        if value and value not in metrics:
            raise ValueError(f"is not one of the recipe's metrics ({', '.join(metrics)})")
        return value or ("cc" if "cc" in metrics else metrics[0])


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), plugins: Sequence[Path] = ()) -> Recipe:
    """The recipe of that name or file, with `key.path=value` overrides and more plugin files.

    `study:eye` is one run of a recipe that lists several. Raises RecipeError naming the key.
    """
    found = load_recipes(name_or_path, overrides, plugins)
    if len(found) > 1:
        runs = [recipe.name for recipe in found]
        raise RecipeError(
            f"{name_or_path} is {len(found)} runs ({', '.join(runs)}); choose one: {name_or_path}:RUN, the last part "
            "of its name"
        )
    return found[0]


def load_recipes(name_or_path: str, overrides: Sequence[str] = (), plugins: Sequence[Path] = ()) -> list[Recipe]:
    """Every run of the recipe, with the overrides in each: one, unless it lists `runs`. Raises RecipeError."""
    name, run = split_name(name_or_path)
    document, where = _find(name)
    if not isinstance(document, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of keys, found {type(document).__name__}")
    return [
        _loaded(one, f"{where}, run {key}" if key else where, Path(name), overrides, plugins)
        for key, one in each_run(document, where, run).items()
    ]


def _loaded(
    document: dict[str, Any], where: str, recipe: Path, overrides: Sequence[str], plugins: Sequence[Path]
) -> Recipe:
    for override in overrides:
        override_key(document, override)
    _find_plugins(document, recipe, plugins)
    return parse_recipe(document, where)


def _find_plugins(document: dict[str, Any], recipe: Path, more: Sequence[Path]) -> None:
    """Absolute paths, so that the recipe as it is kept with results still finds them."""
    own = document.get("plugins") or []
    if not isinstance(own, list) or not all(isinstance(file, str) for file in own):
        return  # the validation says it better
    folder = recipe.parent if recipe.suffix in (".yaml", ".yml") else Path()
    files = [*(folder / expanded(file) for file in own), *more]
    if files:
        document["plugins"] = list(dict.fromkeys(str(file.absolute()) for file in files))


def parse_recipe(document: dict[str, Any], where: str = "recipe") -> Recipe:
    """Validate a recipe that is already a mapping; raises RecipeError listing every place that is wrong."""
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(f"{where}:\n" + describe(error, known=Recipe.model_fields)) from error


def recipe_names() -> dict[str, str]:
    """Packaged recipes by name, with their YAML text."""
    found = {}
    for package in RECIPES.names():
        for file in resources.files(RECIPES.get(package)).iterdir():
            if file.name.endswith(".yaml"):
                found[file.name.removesuffix(".yaml")] = file.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


def _find(name_or_path: str) -> tuple[Any, str]:
    """The document, and what messages call it."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        try:
            return read_yaml(path), str(path)
        except OSError as error:
            raise RecipeError(f"recipe file {path} cannot be read: {error.strerror or error}") from error
        except BadYamlError as error:
            raise RecipeError(f"{path} is not valid YAML: {error}") from error
    named = recipe_names()
    if name_or_path not in named:
        raise UnknownNameError(RECIPES.unknown(name_or_path, list(named)) + "; a file must end in .yaml")
    return load_yaml(named[name_or_path]), f"recipe {name_or_path}"
