import pytest
import timm
import torch

from deo.models.initial import SeededDraws


@pytest.mark.parametrize("name", ["test_deo_swin", "test_deo_vit", "resnet18"])
def test_seeded_draws__are_those_of_the_seed_and_leave_the_others_alone(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        wanted = timm.create_model(name).state_dict()
        state = torch.get_rng_state()
        with SeededDraws(3):
            drawn = timm.create_model(name).state_dict()
        assert torch.equal(torch.get_rng_state(), state)
    assert wanted.keys() == drawn.keys()
    for key, tensor in wanted.items():
        torch.testing.assert_close(drawn[key], tensor, rtol=0, atol=0)


def test_seeded_draws__a_generator_of_the_caller_s_is_heeded() -> None:
    with SeededDraws(0):
        mine = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(mine, torch.rand(3, generator=torch.Generator().manual_seed(5)))
