"""Heads: shapes, freezing, the siamese form, and smp's own network as the oracle."""

from collections.abc import Callable

import pytest
import timm
import torch

from deo.bands import MODEL_BANDS
from deo.errors import ModelError
from deo.training.tasks.backbones import open_backbone
from deo.training.tasks.heads import Network, build_network


@pytest.fixture(scope="module")
def make() -> Callable[..., Network]:
    def build(task: str, *, name: str = "test_deo_swin", **settings: object) -> Network:
        backbone = open_backbone(name, bands=MODEL_BANDS, untrained=True).model
        options: dict[str, object] = {"classes": 3, "head": "upernet", "width": 8, **settings}
        return build_network(task, backbone, **options)  # type: ignore[arg-type]

    return build


@pytest.mark.parametrize("name", ["test_deo_swin", "test_deo_vit", "test_resnet", "test_convnext"])
@pytest.mark.parametrize("head", ["fusion", "upernet", "linear"])
def test_segmenter__any_backbone(make: Callable[..., Network], name: str, head: str) -> None:
    network = make("segment", name=name, head=head)
    images = torch.randn(2, 10, 64, 64)
    scores = network(images)
    assert scores.shape == (2, 3, 64, 64)
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in network.head.parameters())


def test_segmenter__equals_upernet_of_smp() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = smp.UPerNet(
        "tu-test_deo_swin", encoder_weights=None, in_channels=10, classes=3, decoder_channels=512
    ).eval()
    backbone = timm.create_model("test_deo_swin", in_chans=10, features_only=True)
    ours = build_network("segment", backbone, classes=3, head="upernet", width=512).eval()
    backbone.load_state_dict(theirs.encoder.model.state_dict(), strict=True)
    ours.head.decoder.load_state_dict(theirs.decoder.state_dict(), strict=True)
    score = theirs.segmentation_head[0].state_dict()
    ours.head.score.load_state_dict(score, strict=True)
    images = torch.randn(1, 10, 64, 64)
    with torch.no_grad():
        scores = ours.head(ours.maps(images), (64, 64))
        wanted = theirs.segmentation_head[0](theirs.decoder(theirs.encoder(images)))
    torch.testing.assert_close(scores, wanted)


def test_classifier__scores_a_tile_by_the_mean_of_its_last_map(
    make: Callable[..., Network],
) -> None:
    network = make("classify", head="linear").eval()
    images = torch.randn(2, 10, 64, 96)
    wanted = network.head.score(network.maps(images)[-1].mean((2, 3), keepdim=True))[:, :, 0, 0]
    torch.testing.assert_close(network(images), wanted)


def test_probabilities__sum_to_one_unless_classes_may_meet(make: Callable[..., Network]) -> None:
    images = torch.randn(2, 10, 64, 64)
    for task in ("classify", "segment"):
        network = make(task, head="linear").eval()
        shares = network.probabilities(images)
        torch.testing.assert_close(shares.sum(1), torch.ones_like(shares[:, 0]))
    network = make("multilabel", head="linear").eval()
    torch.testing.assert_close(network.probabilities(images), network(images).sigmoid())


def test_change__one_backbone_and_no_order(make: Callable[..., Network]) -> None:
    network = make("change").eval()
    pair = torch.randn(1, 2, 10, 64, 64)
    with torch.no_grad():
        scores = network(pair)
        torch.testing.assert_close(network(pair.flip(1)), scores)
        first = network.backbone(pair[:, 0])
        second = network.backbone(pair[:, 1])
        maps = [(one - other).abs() for one, other in zip(first, second, strict=True)]
        maps = [(pair[:, 0] - pair[:, 1]).abs(), *maps]
        by_hand = torch.nn.functional.interpolate(
            network.head(maps, (64, 64)), size=(64, 64), mode="bilinear", align_corners=False
        )
    torch.testing.assert_close(by_hand, scores)


def test_frozen__backbone_gets_no_gradient_and_stays_in_evaluation(
    make: Callable[..., Network],
) -> None:
    network = make("segment", frozen=True, name="test_resnet").train()
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    network(torch.randn(2, 10, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in network.backbone.parameters())
    assert all(parameter.grad is not None for parameter in network.head.parameters())
    for name, tensor in network.backbone.state_dict().items():  # running statistics too
        assert torch.equal(tensor, before[name])


def test_build__seed_decides_the_head_and_names_are_checked(make: Callable[..., Network]) -> None:
    first, again, other = (make("segment", seed=seed).head.score.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    with pytest.raises(ModelError, match="choose one of fusion, upernet, linear"):
        make("segment", head="unet")
    with pytest.raises(ModelError, match="no head 'upernet' for classify; choose one of fusion"):
        make("classify")
