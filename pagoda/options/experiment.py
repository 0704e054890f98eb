"""An experiment, and what follows from its sections: views, models by name, what is certified."""

from functools import cached_property

from pydantic import Field

from pagoda.data.classes import DATASETS
from pagoda.data.views import View
from pagoda.options.base import Options, option
from pagoda.options.dataset import Dataset
from pagoda.options.models import AnyModel, Architecture, Factory, Model, Network
from pagoda.options.stages import (
    Ablation,
    AlignSection,
    AscendSection,
    CertifySection,
    Gallery,
    Montage,
    Predict,
    PropertySection,
    Sweep,
    Train,
    TrainSection,
)


class Experiment(Options):
    """An experiment: pictures, models, and what is done with them."""

    threads: int = option("CPU threads of one job", 1, ge=1, speed=True)
    dataset: Dataset
    architecture: Architecture
    train: TrainSection = TrainSection()
    models: tuple[AnyModel, ...] = option("objectives and their values; checkpoints", min_length=1)
    certify: CertifySection = CertifySection()
    predict: Predict = Predict()
    ascend: AscendSection
    sweep: Sweep | None = None
    ablation: Ablation | None = None
    align: AlignSection = AlignSection()
    generality: PropertySection | None = Field(None, alias="property")
    montage: Montage = Montage()
    gallery: Gallery = Gallery()

    @property
    def headline_epsilon(self) -> float:
        """The epsilon of the headline, of the sweep and of views that start from no picture."""
        return self.montage.headline_epsilon or max(self.ascend.epsilon)

    @cached_property
    def views(self) -> tuple[View, ...]:
        """What is ascended."""
        return tuple(view.view for view in self.ascend.views)

    @cached_property
    def headline_views(self) -> tuple[View, ...]:
        """The contrast: the first unsmoothed view, and the first smoothed by the noise of its model's training.

        Both start from images; where one of the two is missing, all views that do.
        """
        views = tuple(view for view in self.views if view.start == "images")
        unsmoothed = [view for view in views if not view.sigma]
        noise = {name: getattr(model, "sigma", None) for name, model in self.model_by_name.items()}
        nets = [view for view in views if self.model_by_name[view.model].objective != "bayes"]
        trained = [view for view in nets if view.sigma and view.sigma == noise.get(view.model)]
        return (unsmoothed[0], trained[0]) if unsmoothed and trained else views

    @cached_property
    def certified(self) -> tuple[View, ...]:
        """What is certified: each model trained under noise at its sigma, then `certify.also`; none twice."""
        own = [
            View(model.label, model.objective_values["sigma"])
            for model in self.models
            if model.objective_values.get("sigma")
        ]
        return tuple(dict.fromkeys([*own, *(view.view for view in self.certify.also)]))

    @cached_property
    def model_by_name(self) -> dict[str, Model]:
        """The models by what paths call them, and those of `align`: "judge" and "reference"."""
        own = {"judge": self.align.judge, "reference": self.align.reference}
        further = [self.reseeded(model, seed) for model in self.models for seed in self.further_seeds(model)]
        return {model.label: model for model in (*self.models, *further)} | own

    def further_seeds(self, model: Model) -> tuple[int, ...]:
        """Return the seeds that a model is trained with beside its own; none for what is fitted or imported."""
        return self.generality.seeds if self.generality and model.is_trained else ()

    def reseeded(self, model: Model, seed: int) -> Model:
        """Return the same model, trained with another seed; its name says so."""
        name = "-".join(filter(None, [model.name, f"seed{seed}"]))
        return model.model_copy(update={"name": name, "train": model.train | {"seed": seed}})

    @cached_property
    def property_views(self) -> tuple[tuple[View, str], ...]:
        """What is certified, with every seed; each with the name of the model whose seed it has changed."""
        found = []
        for view in self.certified:
            model = self.model_by_name[view.model]
            names = [model.label, *(self.reseeded(model, seed).label for seed in self.further_seeds(model))]
            found += [(View(name, view.sigma), model.label) for name in names]
        return tuple(found)

    def training_of(self, model: Model) -> Train:
        """Return the options that a model is trained with: the experiment's, and what is its own."""
        return Train.model_validate(self.train.model_dump(include=set(Train.model_fields)) | model.train)

    def architecture_of(self, model: Model) -> Network | Factory:
        """Return the architecture of a model: its own, that of the model it starts from, or the experiment's."""
        while model.init:
            model = self.model_by_name[model.init]
        return model.architecture or self.architecture

    @property
    def published(self) -> str | None:
        """The dataset whose published certified accuracies stand beside ours: cifar10, imagenet or none."""
        return self.certify.published or DATASETS[self.dataset.kind].published or None
