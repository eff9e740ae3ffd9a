"""Other people's libraries take the backbones by name: one forward and one backward each."""

import pytest
import timm
import torch
from torch import nn

import deo.models  # registers the names

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, not ours

assert deo.models


def step(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    torch.set_num_threads(1)
    scores = model(images)
    scores.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without, without
    assert torch.isfinite(scores).all()
    return scores.detach()


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "UPerNet", "Segformer"])
@pytest.mark.parametrize("channels", [10, 3])
def test_smp__decoders_on_swin(decoder: str, channels: int) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = getattr(smp, decoder)(
        "tu-test_deo_swin", encoder_weights=None, in_channels=channels, classes=5
    )
    assert step(model, torch.randn(2, channels, 64, 64)).shape == (2, 5, 64, 64)


def test_smp__dpt_on_vit() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.DPT("tu-test_deo_vit", encoder_weights=None, in_channels=10, classes=5)
    model.train()
    scores = model(torch.randn(2, 10, 64, 64))
    scores.square().mean().backward()
    assert scores.shape == (2, 5, 64, 64)
    learned = [p for name, p in model.encoder.named_parameters() if "blocks.0" in name]
    assert learned
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learned)


def test_torchgeo__semantic_segmentation_task_trains_two_steps() -> None:
    trainers = pytest.importorskip("torchgeo.trainers")
    lightning = pytest.importorskip("lightning.pytorch")
    torch.manual_seed(0)
    task = trainers.SemanticSegmentationTask(
        model="upernet",
        backbone="tu-test_deo_swin",
        weights=None,
        in_channels=10,
        task="multiclass",
        num_classes=3,
        loss="ce",
        lr=1e-3,
    )
    before = {name: p.clone() for name, p in task.named_parameters()}
    samples = [
        {"image": torch.randn(10, 64, 64), "mask": torch.randint(0, 3, (64, 64))} for _ in range(4)
    ]
    trainer = lightning.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(samples, batch_size=2)
    trainer.fit(task, loader, loader)
    assert trainer.global_step == 2
    moved = [name for name, p in task.named_parameters() if not torch.equal(p, before[name])]
    assert any("encoder" in name for name in moved)


def test_peft__lora_on_the_attention() -> None:
    peft = pytest.importorskip("peft")
    model = timm.create_model("test_deo_swin", in_chans=10, num_classes=4)
    config = peft.LoraConfig(r=2, target_modules=["qkv", "proj"], modules_to_save=["head.fc"])
    tuned = peft.get_peft_model(model, config)
    learned, total = tuned.get_nb_trainable_parameters()
    assert 0 < learned < 0.3 * total
    tuned(torch.randn(1, 10, 64, 64)).sum().backward()
    assert all("lora" in n or "fc" in n for n, p in tuned.named_parameters() if p.grad is not None)


def test_transformers__autobackbone() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.TimmBackboneConfig(
        backbone="test_deo_swin", num_channels=10, use_pretrained_backbone=False
    )
    model = transformers.AutoBackbone.from_config(config)
    maps = model(torch.randn(1, 10, 64, 64)).feature_maps
    assert maps[-1].shape[1] == 128
