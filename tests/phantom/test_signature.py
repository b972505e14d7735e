"""Sites with scanners of their own: what shows in the images, and what goes with the outcome."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.phantom.download import make_volume, prepare
from oatools.phantom.people import PhantomSettings, make_people
from oatools.phantom.series import SEQUENCES
from oatools.phantom.signature import PLAIN, Signature, draw_site, signature_of

SETTINGS = PhantomSettings(patients=1200, seed=2, matrix=64, sites=4, site_odds=6.0)


def volume(signature):
    settings = replace(SETTINGS, patients=1)
    knee = make_people(settings)[0].knees[0]
    pixels, _ = make_volume(settings, knee, SEQUENCES["cor-iw-tse"], signature)
    return pixels.astype(float)


def test_scanners_go_from_sharp_and_noisy_to_blurred_and_calm():
    found = [signature_of(site, 4) for site in "ABCD"]
    assert [s.blur for s in found] == pytest.approx([0, 0.4, 0.8, 1.2])
    assert [s.noise for s in found] == pytest.approx([3, 3 ** (2 / 3), 3 ** (1 / 3), 1])
    assert signature_of("E", 0) == PLAIN


def test_a_signature_shows_in_the_images():
    plain, noisy, blurred = volume(PLAIN), volume(Signature(0, 3)), volume(Signature(1.2, 1))
    air = plain < np.quantile(plain, 0.2)
    assert noisy[air].std() / plain[air].std() == pytest.approx(3, rel=0.1)

    def edges(image):
        return np.quantile(np.abs(np.diff(image, axis=0)), 0.99)

    assert edges(blurred) < 0.7 * edges(plain)
    assert blurred.mean() == pytest.approx(plain.mean(), rel=0.02)


def test_knees_that_narrow_are_at_late_sites_by_the_odds_that_were_asked_for():
    """Of one positive knee: P(site) goes with 6^(place), so D is 6 times A; of none all are alike."""
    counts = {0: Counter(), 1: Counter(), 2: Counter()}
    for patient in make_people(SETTINGS):
        counts[sum(knee.progressor for knee in patient.knees)][patient.site] += 1
    assert set(counts[0]) == set("ABCD")
    none, one = counts[0], counts[1]
    assert none["D"] / none["A"] == pytest.approx(1, abs=0.3)
    assert one["D"] / one["A"] == pytest.approx(6, rel=0.35)
    assert counts[2]["D"] / max(counts[2]["A"], 1) > 10


def test_odds_of_one_tell_nothing():
    random = np.random.default_rng(0)
    drawn = Counter(draw_site(random, 2, 1.0, 2) for _ in range(4000))
    assert drawn["B"] / 4000 == pytest.approx(0.5, abs=0.03)


def test_all_but_the_site_is_as_without_sites():
    with_sites = make_people(replace(SETTINGS, patients=20))
    plain = make_people(replace(SETTINGS, patients=20, sites=0, site_odds=1.0))

    def told(patient):
        return (
            *(patient.subject, patient.examined, patient.age, patient.weight, patient.race),
            *(patient.cohort, [(k.jsw, k.womac, k.progressor, k.grades) for k in patient.knees]),
        )

    assert [told(p) for p in with_sites] == [told(p) for p in plain]
    assert {p.site for p in plain} <= set("ABCDE")


def test_a_folder_without_sites_is_signed_as_ever_and_one_with_them_is_another(tmp_path):
    plain = PhantomSettings(patients=1, sequences=("cor-iw-tse",), matrix=64)
    prepare(tmp_path / "p", plain)
    signed = json.loads((tmp_path / "p/phantom.json").read_text())["settings"]
    assert "sites" not in signed and "site_odds" not in signed
    with pytest.raises(UsageError, match="made with sites none"):
        prepare(tmp_path / "p", replace(plain, sites=3))
    prepare(tmp_path / "s", replace(plain, sites=3, site_odds=2.0))
    with pytest.raises(UsageError, match="made with sites 3"):
        prepare(tmp_path / "s", plain)
    for wrong in ({"sites": 1}, {"sites": 6}, {"sites": 3, "site_odds": 0.0}):
        with pytest.raises(UsageError):
            prepare(tmp_path / "new", replace(plain, **wrong))
