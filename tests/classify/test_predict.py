"""What a picture shows: pictures of every kind, to 32×32 pixels, to a class or none of the ten."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from atelier.errors import ImageError, SettingsError, WeightsError
from atelier.media.images import load_image, resize, sample
from classify import calibration
from classify.data import CLASSES
from classify.predict import NONE, classify, classify_all, classify_prepared, prepare


def flat(colour, height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


@pytest.fixture
def at(network):
    """Gives the trained tiny network with another threshold."""

    def with_threshold(value):
        return dataclasses.replace(network, card={**network.card, "threshold": value})

    return with_threshold


# === Results ===


def test_each_colour_is_its_class(namer, colours):
    found = [classify(flat(colour), network=namer).labels[0] for colour in colours]
    assert tuple(found) == CLASSES


def test_embedded_strong_network_is_asked_by_default(embedded, drawn):
    image = drawn.test.images[0]
    found, expected = classify(image), classify(image, network=embedded)
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_labels_are_in_the_order_of_their_probabilities(network, drawn):
    found = classify(drawn.test.images[4], network=network)
    assert sorted(found.labels) == sorted(CLASSES)
    assert (found.probabilities.shape, found.probabilities.dtype) == ((10,), np.float32)
    assert (np.diff(found.probabilities) <= 0).all()
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-6)
    logits = network.logits(drawn.test.images[4:5])
    expected = calibration.probabilities(logits, network.temperature)[0]
    for label, probability in zip(found.labels, found.probabilities, strict=True):
        assert probability == pytest.approx(expected[CLASSES.index(label)], abs=1e-6)
    assert found.energy == pytest.approx(calibration.energy(logits, network.temperature)[0])
    assert found.model == "strong"
    assert found.seconds > 0


def test_temperature_tempers(network, drawn):
    def best(temperature: float) -> float:
        other = dataclasses.replace(network, card={**network.card, "temperature": temperature})
        return classify(drawn.test.images[0], network=other).probabilities[0]

    assert best(0.05) > best(1) > best(50)
    assert best(1000) == pytest.approx(0.1, abs=0.01)


def test_what_the_network_does_not_know_is_none_of_the_ten(at, drawn):
    image = drawn.test.images[0]
    energy = classify(image, network=at(None)).energy
    for threshold, known in ((None, True), (energy - 1e-3, True), (energy + 1e-3, False)):
        found = classify(image, network=at(threshold))
        assert found.known is known
        assert found.label == (found.labels[0] if known else NONE)
        assert found.labels[0] == "airplane", "whatever it is called"
    assert NONE == "none of the ten"


def test_views_are_those_of_the_card_or_others(network, drawn):
    image = drawn.test.images[5]
    found = {v: classify(image, network=network, views=v).energy for v in (None, 1, 2, 6)}
    assert found[None] == found[6]
    assert len({found[1], found[2], found[6]}) == 3


@pytest.mark.parametrize("views", [1, 2, 6])
def test_temperature_and_threshold_are_those_of_the_views(network, drawn, views):
    image = drawn.test.images[5]
    logits = network.logits(image[None], views)
    temperature, threshold = network.card["temperature"][str(views)], {"1": 0.0, "2": 0.0, "6": 0.0}
    found = classify(image, network=network, views=views)
    expected = calibration.probabilities(logits, temperature)[0]
    np.testing.assert_allclose(found.probabilities, np.sort(expected)[::-1], atol=1e-6)
    threshold[str(views)] = found.energy + 1e-3
    other = dataclasses.replace(network, card={**network.card, "threshold": threshold})
    known = {n: classify(image, network=other, views=n).known for n in (1, 2, 6)}
    assert known == {n: n != views for n in (1, 2, 6)}


def test_prepared_pictures_are_taken_as_they_are(network, drawn):
    images = drawn.test.images[:7]
    found = classify_prepared(images, network)
    for image, one in zip(images, found, strict=True):
        alone = classify(image, network=network)
        assert alone.labels[0] == one.labels[0]
        np.testing.assert_allclose(alone.probabilities, one.probabilities, atol=1e-4)


# === Pictures of every kind ===


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (300, 20), (32, 32), (31, 33), (700, 900)])
@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_any_size_and_aspect(namer, shape, fit):
    found = prepare(flat((230, 30, 30), *shape), fit)
    assert (found.shape, found.dtype) == ((32, 32, 3), np.uint8)
    np.testing.assert_allclose(found.astype(int), flat((230, 30, 30), 32, 32), atol=1)
    result = classify(flat((230, 30, 30), *shape), network=namer, fit=fit)
    assert result.labels[0] == CLASSES[0]


def test_squeeze_takes_all_of_the_picture_and_crop_its_middle():
    wide = np.concatenate([flat((255, 0, 0), 40, 40), flat((0, 255, 0)), flat((0, 0, 255))], 1)
    for image, axis in ((wide, 1), (wide.transpose(1, 0, 2), 0)):
        squeezed, cropped = prepare(image), prepare(image, "crop")
        assert squeezed.take(2, axis).mean(axis=0).argmax() == 0
        assert squeezed.take(-3, axis).mean(axis=0).argmax() == 2
        np.testing.assert_array_equal(squeezed, resize(image, (32, 32)))
        np.testing.assert_array_equal(cropped, flat((0, 255, 0), 32, 32))


def test_pictures_of_cifar_10_stay_as_they_are(drawn):
    image = drawn.test.images[0]
    for fit in ("squeeze", "crop"):
        np.testing.assert_array_equal(prepare(image, fit), image)


def test_shrinking_is_antialiased():
    """Stripes of a pixel become grey, not one of both colours."""
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(prepare(stripes).astype(int)[4:-4, 4:-4], 128, atol=3)


def rgb(colour) -> Image.Image:
    return Image.new("RGB", (50, 40), colour)


def turned() -> bytes:
    """A picture that is red above and blue below only once it is turned upright."""
    image = Image.new("RGB", (40, 40), (255, 0, 0))
    image.paste((0, 0, 255), (20, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned clockwise: left is above.
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    return stream.getvalue()


KINDS = {
    "grey": (lambda: rgb((128,) * 3).convert("L"), "ship"),
    "black and white": (lambda: rgb((0, 0, 0)).convert("1"), "horse"),
    "palette": (lambda: rgb((30, 230, 30)).convert("P"), "automobile"),
    "clear on white": (lambda: Image.new("RGBA", (40, 50), (0, 0, 0, 0)), "frog"),
    "opaque": (lambda: Image.new("RGBA", (40, 50), (0, 0, 0, 255)), "horse"),
    "CMYK": (lambda: Image.new("CMYK", (40, 50), (0, 230, 230, 20)), "airplane"),
    "16 bits": (
        lambda: Image.fromarray(np.full((50, 40), 128 * 257, np.uint16)),
        "ship",
    ),
}
"""Pictures of each kind, and the class whose colour they have."""


@pytest.mark.parametrize(("make", "label"), KINDS.values(), ids=KINDS)
def test_every_kind_of_picture_is_seen_in_its_colours(namer, tmp_path, make, label):
    image = make()
    file = saved(image, tmp_path / ("x.tif" if image.mode == "CMYK" else "x.png"))
    assert classify(file, network=namer).labels[0] == label
    assert classify(str(file), network=namer).labels[0] == label
    assert classify(image, network=namer).labels[0] == label


def test_exif_orientation_is_applied(network):
    for fit in ("squeeze", "crop"):
        small = prepare(load_image(turned()), fit)
        assert small[4].mean(axis=0).argmax() == 0
        assert small[-4].mean(axis=0).argmax() == 2
    upright = load_image(turned())
    found, expected = (classify(x, network=network).energy for x in (turned(), upright))
    assert found == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"text", "not a picture"), (None, "no such file")],
)
def test_what_is_no_picture_is_an_image_error(network, tmp_path, content, words):
    file = tmp_path / "x.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ImageError, match=words):
        classify(file, network=network)


def test_sense_of_settings(network, photo, weights):
    with pytest.raises(SettingsError, match="--fit is squeeze or crop, not 'stretch'"):
        classify(photo, network=network, fit="stretch")
    with pytest.raises(SettingsError, match="--views is one of 1, 2, 6, not 3"):
        classify(photo, network=network, views=3)
    with pytest.raises(WeightsError, match="no embedded network 'x'"):
        classify(photo, network="x")


# === Many ===


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_pictures_gives_a_list(network, drawn, kind):
    pictures = kind(drawn.test.images[:3])
    found = classify(pictures, network=network)
    assert isinstance(found, list)
    expected = [classify(picture, network=network) for picture in pictures]
    assert [each.labels for each in found] == [each.labels for each in expected]
    assert classify([], network=network) == []


def test_results_come_in_order_whatever_the_batch(network, drawn, monkeypatch):
    images = list(drawn.test.images[:11])
    whole = list(classify_all(images, network=network))
    assert len(whole) == 11
    for batch in (1, 4, 11):
        parts = list(classify_all(iter(images), network=network, batch=batch))
        assert [p.labels[0] for p in parts] == [w.labels[0] for w in whole]
        for part, one in zip(parts, whole, strict=True):
            np.testing.assert_allclose(part.probabilities, one.probabilities, atol=1e-4)
    assert list(classify_all([], network=network)) == []


def test_pictures_are_read_as_results_are_asked_for(network, drawn):
    """However long the list: no more than a batch is read ahead, or in memory at once."""
    read = 0

    def very_many():
        nonlocal read
        for image in drawn.train.images:
            yield image
            read += 1

    results = classify_all(very_many(), network=network, batch=5)
    assert read == 0
    for number in range(1, 18):
        next(results)
        # The generator stands at its `yield`: it has counted one less than it has given.
        assert number <= read + 1 <= number + 5


def test_samples_of_scikit_image_are_classified(network):
    files = [sample(name) for name in ("chelsea.png", "camera.png", "logo.png")]
    results = list(classify_all(files, network=network, fit="crop"))
    assert len(results) == 3
    assert all(np.isfinite(result.energy) for result in results)
