"""Models of other packages that are built on nn.LSTM or nn.LSTMCell, with inputs of a usual size.

Their weights are random: nothing is downloaded. A package is imported when its model is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from model_sample import Outputs, Sample, call_for
from text_models import awd_lstm, stanza_lemmatizer, stanza_tagger
from torch import Tensor, nn


@dataclass(frozen=True)
class Entry:
    """How a model is built, and the module that has to be there for it.

    draws: its outputs are random, and have no gradients.
    """

    package: str
    build: Callable[[], Sample]
    draws: bool = False


def denoiser_dns48() -> Sample:
    """Speech enhancement of Défossez et al. (2020): two LSTM layers of 768 between convolutions."""
    from denoiser.demucs import Demucs

    noisy = torch.randn(1, 1, 4 * 16_000)  # four seconds
    return Sample(Demucs(hidden=48), {"mix": noisy}, call_for("enhanced"))


def demucs_hybrid() -> Sample:
    """Music separation of Défossez (2021): bidirectional LSTMs in its residual branches."""
    from demucs.hdemucs import HDemucs

    model = HDemucs(sources=["drums", "bass", "other", "vocals"])
    stereo = torch.randn(1, 2, 2 * 44_100)  # two seconds
    return Sample(model, {"mix": stereo}, call_for("sources"))


def deepar() -> SimpleNamespace:
    """Forecasts of Salinas et al. (2020) for a week of hours and the day after, and its inputs."""
    from gluonts.torch.distributions import NormalOutput
    from gluonts.torch.model.deepar import DeepARModel

    sizes = {"context_length": 7 * 24, "prediction_length": 24, "num_feat_dynamic_real": 5}
    model = DeepARModel("h", **sizes, cardinality=[370], distr_output=NormalOutput())
    shapes = {name: value.shape for name, value in model.describe_inputs(32).items()}
    inputs = {name: torch.rand(shape) for name, shape in shapes.items()}
    inputs["feat_static_cat"] = torch.randint(370, shapes["feat_static_cat"])
    inputs["past_observed_values"].round_()
    return SimpleNamespace(model=model, inputs=inputs)


def deepar_loss() -> Sample:
    """DeepAR as it is trained: two LSTM layers of 40 over the week and the day."""
    made = deepar()
    future = {"future_target": torch.rand(32, 24), "future_observed_values": torch.ones(32, 24)}

    def call(model: nn.Module, **inputs: Tensor) -> Outputs:
        return {"loss": model.loss(**inputs)}

    return Sample(made.model, made.inputs | future, call)


def deepar_samples() -> Sample:
    """DeepAR as it forecasts: 100 paths of each series, an hour at a time, fed what they drew."""
    made = deepar()
    return Sample(made.model, made.inputs, call_for("paths"))


def recurrent_policy(sequences: int, steps: int) -> SimpleNamespace:
    """Actor and critic of recurrent PPO, an LSTM of 256 each, for sb3's BipedalWalker."""
    import numpy
    from gymnasium.spaces import Box
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

    spaces = [Box(-numpy.ones(n, numpy.float32), numpy.ones(n, numpy.float32)) for n in (24, 4)]
    policy = RecurrentActorCriticPolicy(*spaces, lambda progress: 3e-4)
    # sb3 makes observations float32, whatever the policy is
    policy.features_extractor.register_forward_pre_hook(
        lambda _, given: (given[0].to(torch.get_default_dtype()),)
    )
    first = torch.zeros(sequences, steps)
    first[:, 0] = 1
    inputs = {f"state{i}": torch.randn(1, sequences, 256) for i in range(4)}
    inputs |= {"observations": torch.randn(sequences * steps, 24), "first": first.flatten()}
    return SimpleNamespace(model=policy, inputs=inputs)


def recurrent_states(inputs: dict[str, Tensor]):
    """The states of actor and critic, out of the inputs."""
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    values = [inputs.pop(f"state{i}") for i in range(4)]
    return RNNStates(tuple(values[:2]), tuple(values[2:]))


def ppo_update() -> Sample:
    """Recurrent PPO as it learns: episodes that begin in the batch make sb3 go step by step."""
    made = recurrent_policy(8, 32)

    def call(model: nn.Module, *, observations, actions, first, **states: Tensor) -> Outputs:
        given = observations, actions, recurrent_states(states), first
        names = "values", "log_probabilities", "entropy"
        return dict(zip(names, model.evaluate_actions(*given), strict=True))

    return Sample(made.model, made.inputs | {"actions": torch.randn(8 * 32, 4)}, call)


def ppo_rollout() -> Sample:
    """Recurrent PPO as it plays: one step of eight environments."""
    made = recurrent_policy(8, 1)

    def call(model: nn.Module, *, observations: Tensor, first: Tensor, **states: Tensor) -> Outputs:
        given = observations, recurrent_states(states), first
        actions, values, _, after = model(*given, deterministic=True)
        return {"actions": actions, "values": values, "h": after.pi[0], "c": after.pi[1]}

    return Sample(made.model, made.inputs, call)


def torchrl_module() -> Sample:
    """TorchRL's LSTM over trajectories that end within the batch, as its recurrent agents learn."""
    from tensordict import TensorDict
    from torchrl.modules import LSTMModule, set_recurrent_mode

    sizes, keys = {"input_size": 64, "hidden_size": 128, "num_layers": 2}, ["x", "h", "c"]
    model = LSTMModule(**sizes, in_keys=keys, out_keys=["y", ("next", "h"), ("next", "c")])
    inputs = {"x": torch.randn(16, 32, 64), "is_init": torch.rand(16, 32, 1) < 0.1}
    inputs |= {name: torch.randn(16, 32, 2, 128) for name in keys[1:]}

    def call(model: nn.Module, **inputs: Tensor) -> Outputs:
        with set_recurrent_mode(True):
            found = model(TensorDict(inputs, [16, 32]))
        return {"y": found["y"], "h": found["next", "h"], "c": found["next", "c"]}

    return Sample(model, inputs, call)


def graph_sage() -> Sample:
    """GraphSAGE of Hamilton et al. (2017), its LSTM over neighbours, on a graph like ogbn-arxiv."""
    from torch_geometric.nn import GraphSAGE

    model = GraphSAGE(128, 128, num_layers=2, out_channels=40, aggr="lstm", jk="lstm")
    into = torch.randint(2000, (20_000,)).sort().values
    edges = torch.stack([torch.randint(2000, (20_000,)), into])
    return Sample(model, {"x": torch.randn(2000, 128), "edge_index": edges}, call_for("logits"))


ZOO = {
    "denoiser dns48": Entry("denoiser", denoiser_dns48),
    "demucs hybrid": Entry("demucs", demucs_hybrid),
    "stanza tagger": Entry("stanza", stanza_tagger),
    "stanza lemmatizer": Entry("stanza", stanza_lemmatizer),
    "gluonts DeepAR": Entry("gluonts", deepar_loss),
    "gluonts DeepAR paths": Entry("gluonts", deepar_samples, draws=True),
    "sb3 PPO update": Entry("sb3_contrib", ppo_update),
    "sb3 PPO rollout": Entry("sb3_contrib", ppo_rollout),
    "fastai AWD-LSTM": Entry("fastai", awd_lstm),
    "TorchRL LSTMModule": Entry("torchrl", torchrl_module),
    "PyG GraphSAGE": Entry("torch_geometric", graph_sage),
}
