"""What drawn folds and folds by site say where a scanner's signature goes with the outcome.

    python tests/bench/sites.py [--patients 250] [--odds 8 1]

A phantom of four sites, whose best possible AUC is 0.6: what is above it is the scanners. For each
odds of `oa-phantom --site-odds`, the area of a linear model on ImageNet features in folds that are
drawn and in folds by site, their difference with its interval (the gap), and the area within sites;
and how well the site can be read from the features. All of it is synthetic.
"""

import argparse
import csv
import re
import subprocess
import tempfile
from pathlib import Path

SCRIPT = """
set -e -o pipefail
oa-phantom p --patients {patients} --seed 3 --sequence cor-iw-tse --matrix 96 --sites 4 \\
  --site-odds {odds} --jsn-auc 0.6 -q -j 2 > series.tsv
oa-convert p/00m -o raw -q -j 2 | oa-orient -o oriented -q -j 2 \\
  | oa-embed -o features --slices 4 -q -j 2 > features.tsv
oa-label p/tables --endpoint jsn12 -q > labels.tsv
cv="oa-cv features.tsv --labels labels.tsv --no-network --slices 4 --repeats 1 --no-compare"
$cv --leave-out site -o by-site 2> by-site.log > /dev/null
$cv -k 4 -o drawn -q > /dev/null
oa-validate drawn/predictions.tsv --labels labels.tsv --against by-site/predictions.tsv \\
  --compare gap.tsv -q > /dev/null
oa-validate drawn/predictions.tsv --labels labels.tsv --within site -q > within.tsv
"""


def table(path):
    with path.open() as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--patients", type=int, default=250)
    parser.add_argument("--odds", type=float, nargs="+", default=[8, 1])
    options = parser.parse_args()
    print("odds", "site_read", "drawn", "by_site", "gap", "ci_low", "ci_high", "within", sep="\t")
    for odds in options.odds:
        with tempfile.TemporaryDirectory() as folder:
            script = SCRIPT.format(patients=options.patients, odds=odds)
            subprocess.run(["bash", "-c", script], cwd=folder, check=True)
            (gap,) = table(Path(folder, "gap.tsv"))
            within = next(r for r in table(Path(folder, "within.tsv")) if r["metric"] == "roc_auc")
            said = Path(folder, "by-site.log").read_text()
            read = re.search(r"with an area of ([\d.]+)", said)[1]
        own = ("one_auc", "other_auc", "difference", "ci_low", "ci_high")
        print(
            f"{odds:g}", read, *(gap[name] for name in own), within["value"], sep="\t", flush=True
        )


if __name__ == "__main__":
    main()
