from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.api import IGNORE, Band, Budget, Context, Images, Part, UserError
from models import _loop, _loop_step, _train, _unet, unet

pytestmark = pytest.mark.usefixtures("one_thread")


def make_part(count=6, size=(32, 32), bands=2, seed=0, invalid=0.0):
    """Patches whose first band tells the truth; the second is a brightness temperature."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((count, *size), np.uint8)
    for one in mask:
        y, x = (generator.integers(0, side // 2) for side in size)
        one[y : y + size[0] // 2, x : x + size[1] // 2] = 1
    toa = np.empty((count, bands, *size), np.float32)
    toa[:, 0] = 0.1 + 0.5 * mask + generator.normal(0, 0.05, mask.shape)
    toa[:, 1:] = generator.normal(280, 10, (count, bands - 1, *size))
    hole = generator.random(mask.shape) < invalid
    toa[np.broadcast_to(hole[:, None], toa.shape)] = np.nan
    mask[hole] = IGNORE
    known = (Band("S2", "RED", 0.659, "reflectance"), Band("S8", "BT_11", 10.854, "brightness_temperature"))
    unknown = np.full(count, np.nan)
    images = Images(
        toa, known[:bands], tuple(range(bands)), np.arange(count), np.full(count, "NaT", "datetime64[s]"),
        unknown, unknown, unknown, None, f"fake-{seed}",
    )  # fmt: skip
    return Part(images, mask, tuple(str(row) for row in range(count)))


def accuracy(probability, mask):
    return float(((probability > 0.5) == mask)[mask != IGNORE].mean())


def context(**changes):
    return Context(budget=Budget(epochs=2, batch=4, **changes), score=accuracy)


def tiny():
    return unet.SmallUNet(base=4)


def state(method):
    return {name: value.clone() for name, value in method.network_.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_d4_has_eight_elements_that_keep_pixels_together():
    image = np.arange(16).reshape(1, 4, 4)
    turned = [_train.turn(image, element) for element in range(8)]
    assert len({one.tobytes() for one in turned}) == 8
    assert np.array_equal(turned[0], image)
    both = _train.turn_each(np.concatenate([image, -image])[None], np.array([5]))
    assert np.array_equal(both[0, 0], -both[0, 1])


def test_statistics_ignore_invalid_pixels_and_hold_for_any_band():
    images = make_part(invalid=0.3).images
    toa = images.read()
    mean, std = _train.band_statistics(images)
    assert np.allclose(mean, np.nanmean(toa, (0, 2, 3)), rtol=1e-6)
    assert np.allclose(std, np.nanstd(toa, (0, 2, 3)), rtol=1e-4)
    empty = replace(images, toa=np.full_like(toa, np.nan))
    assert _train.band_statistics(empty) == ([0, 0], [1, 1])
    assert _train.band_statistics(replace(images, toa=np.full_like(toa, 7)))[1] == [1, 1]


def test_an_invalid_pixel_becomes_the_mean():
    scale = _train.Scale([0.2, 280.0], [0.1, 10.0])
    toa = torch.tensor([[0.3, 270.0], [torch.nan, torch.nan]]).T.reshape(1, 2, 1, 2)
    assert torch.allclose(scale(toa).flatten(), torch.tensor([1.0, 0.0, -1.0, 0.0]), atol=1e-5)
    assert torch.equal(scale(toa)[..., 1], torch.zeros(1, 2, 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(0, 1, 255), (0, 255), (1, 255), (0, 1), (255,)]))
def test_dice_is_the_loss_of_the_study(seed, values):
    from segmentation_models_pytorch.losses import DiceLoss

    generator = np.random.default_rng(seed)
    mask = torch.from_numpy(generator.choice(np.array(values, np.uint8), (3, 5, 7)))
    logits = torch.from_numpy(generator.normal(0, 3, (3, 2, 5, 7)).astype(np.float32))
    theirs = DiceLoss("multiclass", ignore_index=IGNORE)(logits, mask.long())
    assert torch.allclose(_train.dice_loss(_train.dice_sums(logits, mask)), theirs, atol=1e-6)


def test_ignored_pixels_have_no_gradient_and_an_empty_mask_gives_zero():
    mask = torch.tensor([[[0, 1, 255, 1]]], dtype=torch.uint8)
    logits = torch.randn(1, 2, 1, 4, requires_grad=True)
    _train.dice_loss(_train.dice_sums(logits, mask)).backward()
    assert (logits.grad[..., 2] == 0).all()
    assert (logits.grad[..., [0, 1, 3]] != 0).all()
    logits.grad = None
    loss = _train.dice_loss(_train.dice_sums(logits, torch.full_like(mask, IGNORE)))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_fit_is_bit_identical_whatever_the_global_generators_hold():
    part, states = make_part(), []
    for junk in (1, 2):
        torch.manual_seed(junk)
        np.random.seed(junk)  # noqa: NPY002
        method = unet.SmallUNet(base=4, dropout=0.3)
        method.fit(part, part, context(orientations=8))
        states.append(state(method))
    assert equal(*states)
    method.fit(part, part, replace(context(orientations=8), seed=1))
    assert not equal(states[0], state(method))


def test_fit_leaves_global_generators_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny().fit(make_part(), make_part(), context())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("count", "batch", "steps"), [(6, 4, 4), (8, 4, 4), (3, 8, 2), (5, 1, 10)])
def test_steps_are_epochs_times_batches_rounded_up(monkeypatch, count, batch, steps):
    seen, real = [], _loop_step.Stepper.step
    record = lambda self, arrays, mask: seen.append(len(mask)) or real(self, arrays, mask)  # noqa: E731
    monkeypatch.setattr(_loop_step.Stepper, "step", record)
    tiny().fit(make_part(count), make_part(2), Context(budget=Budget(epochs=2, batch=batch)))
    assert len(seen) == steps
    assert sum(seen) == 2 * count


def test_order_of_patches_is_that_of_the_seed():
    part, orders = make_part(16), []
    network = torch.nn.Conv2d(2, 2, 1)
    for seed in (0, 0, 1):
        rows = []
        samples = _train.Samples(
            16,
            lambda which, elements, rows=rows: rows.extend(which) or (part.images.read(which),),
            part.masks,
        )
        _loop.train(network, samples, samples, Context(seed, budget=Budget(2, 4)), _train.Learning(0.0, 0.0))
        orders.append((rows[:16], rows[32:48]))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1]
    assert all(sorted(order) == list(range(16)) for both in orders for order in both)


def test_masks_turn_with_their_images(monkeypatch):
    part, pairs = make_part(), []
    truth = replace(part, images=replace(part.images, toa=part.truth[:, None].repeat(2, 1).astype(np.float32)))
    record = lambda self, arrays, mask: pairs.append((arrays[0], mask)) or 0  # noqa: E731
    monkeypatch.setattr(_loop_step.Stepper, "step", record)
    tiny().fit(truth, truth, context(orientations=8))
    assert all(np.array_equal(toa[:, 0], mask) for toa, mask in pairs)
    assert any(not (mask[:, None, None] == truth.truth[None]).all((2, 3, 4)).any(1).all() for _, mask in pairs)


def test_only_square_patches_are_turned():
    part = make_part(size=(32, 48))
    with pytest.raises(UserError, match="32 x 48"):
        tiny().fit(part, part, context(orientations=8))
    tiny().fit(part, part, context())


def test_best_epoch_is_kept():
    part, answers, scores = make_part(), [], iter([0.1, 0.9, 0.2])

    def score(probability, mask):
        answers.append(probability)
        return next(scores)

    ctx = Context(budget=Budget(epochs=3, batch=4), score=score)
    method = tiny()
    method.fit(part, part, ctx)
    predicted = method.predict(part.images, ctx)
    assert np.array_equal(predicted, answers[1])
    assert not np.array_equal(predicted, answers[2])


def test_without_a_score_the_last_epoch_stays():
    part, answers = make_part(), []
    score = lambda probability, mask: answers.append(probability) or float("nan")  # noqa: E731
    ctx = Context(budget=Budget(epochs=2, batch=4), score=score)
    method = tiny()
    method.fit(part, part, ctx)
    assert np.array_equal(method.predict(part.images, ctx), answers[-1])


def test_curves_are_reported_and_a_trial_can_end_early():
    part, curves = make_part(), []

    def report(epoch, **values):
        curves.append((epoch, values))
        if epoch == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        tiny().fit(part, part, Context(budget=Budget(epochs=9, batch=4), score=accuracy, report=report))
    assert [epoch for epoch, _ in curves] == [0, 1]
    assert all(set(values) == {"train_loss", "val_loss", "score"} for _, values in curves)
    assert all(np.isfinite(list(values.values())).all() for _, values in curves)


def test_val_loss_and_score_do_not_depend_on_the_batch():
    part, curves = make_part(7, invalid=0.2), []
    method = tiny()
    method.fit(part, part, context())
    samples = _train.Samples(len(part), _train.image_inputs(part.images), part.masks)
    for batch in (1, 3, 7):
        curves.append(_train.judge(method.network_, samples, Context(budget=Budget(batch=batch), score=accuracy)))
    assert np.allclose(curves, curves[0], atol=1e-6)


def test_wholly_ignored_and_wholly_invalid_patches_do_no_harm():
    part = make_part(invalid=0.2)
    part.truth[0] = IGNORE
    part.truth[1:5], part.images.toa[1:5] = IGNORE, np.nan  # in one batch of 1 there is nothing to learn from
    method = tiny()
    method.fit(part, part, Context(budget=Budget(epochs=2, batch=1), score=accuracy))
    assert all(torch.isfinite(value).all() for value in method.network_.state_dict().values())
    probability = method.predict(part.images, context())
    assert np.isfinite(probability).all()
    assert probability.dtype == np.float32
    assert 0 <= probability.min() <= probability.max() <= 1


def test_unet_learns_an_easy_task():
    part = make_part(12, invalid=0.05)
    method = unet.SmallUNet(base=8)
    ctx = Context(budget=Budget(epochs=8, batch=4, orientations=8), score=accuracy)
    method.fit(part, make_part(4, seed=1), ctx)
    test = make_part(4, seed=2)
    assert accuracy(method.predict(test.images, ctx), test.truth) > 0.95


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (17, 64)])
def test_unet_takes_any_size(size):
    network = _unet.UNet(3, 4, 0.0).eval()
    assert network(torch.randn(2, 3, *size)).shape == (2, 2, *size)


def test_default_unet_is_as_small_as_documented():
    sizes = {base: sum(p.numel() for p in _unet.UNet(6, base, 0.0).parameters()) / 1e6 for base in (16, 24, 32)}
    assert {base: round(size, 1) for base, size in sizes.items()} == {16: 1.9, 24: 4.4, 32: 7.8}


def test_parameters_are_counted():
    method = tiny()
    method.fit(make_part(), make_part(), context())
    total = sum(p.numel() for p in method.network_.parameters())
    assert method.parameters_ == {"total": total, "trainable": total}


def test_a_saved_network_answers_as_before():
    part = make_part()
    method = tiny()
    method.fit(part, part, context())
    again = tiny()
    again.scale_ = method.scale_
    again.build_network()
    assert not equal(state(method), state(again))
    again.network_.load_state_dict(state(method))
    assert np.array_equal(again.predict(part.images, context()), method.predict(part.images, context()))


def test_prediction_does_not_depend_on_the_company_of_a_patch():
    part = make_part(5)
    method = tiny()
    method.fit(part, part, context())
    alone = method.predict(part.images.take([3]), context())
    assert np.allclose(alone, method.predict(part.images, context())[[3]], atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_unet_on_cuda_answers_as_on_cpu():
    part = make_part()
    method = tiny()
    ctx = replace(context(orientations=8), device="cuda")
    method.fit(part, part, ctx)
    assert np.allclose(method.predict(part.images, ctx), method.predict(part.images, context()), atol=0.05)


def test_the_row_with_a_cosine_differs_from_the_plain_one_in_its_schedule(monkeypatch):
    asked = []
    monkeypatch.setattr(_loop, "train", lambda network, seen, val, ctx, learning: asked.append(learning))
    for row in (unet.ROWS[0], unet.resolve("unet+cosine")):
        row.method(**row.params, base=4).fit(make_part(), make_part(), context())
    assert asked[1] == replace(asked[0], schedule="cosine", warmup=0.05)
    assert unet.resolve("unet+cosin") is None
