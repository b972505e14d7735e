#!/usr/bin/env bash
# The whole job, from a DICOM download to a cross-validated report and a heat map, on a synthetic cohort.
# Everything here is what you would type for real data; only the first step would be your own download.
#
#   examples/demo.sh [FOLDER]          PATIENTS=150 and JOBS=2 by default
#
# The backbone's ImageNet weights were installed with oatools, and the knees are phantoms: the numbers show that the
# pipe works, and say nothing of patients. Run it again and it keeps what is done.
set -euo pipefail

folder=${1:-demo}
jobs=${JOBS:-2}
patients=${PATIENTS:-150}

mkdir -p "$folder"
cd "$folder"

# 1. A download: 00m/ with a DICOM series a knee, tables/ with the clinical data, truth.tsv with what was planted.
oa-phantom oai --patients "$patients" --seed 0 --sequence cor-iw-tse --matrix 192 -j "$jobs" > series.tsv

# 2. DICOM to features, in one pipe: the four commands run at the same time, and rows flow as they are done.
oa-convert oai/00m --sequence cor-iw-tse -o nii \
  | oa-orient -o oriented \
  | oa-n4 -j "$jobs" -o n4 \
  | tee n4.tsv \
  | oa-embed -j "$jobs" --slices 12 -o features > features.tsv

# 3. Labels: who loses at least 0.5 mm of joint space within 12 months.
oa-label oai/tables --endpoint jsn12 > labels.tsv

# 4. Five-fold cross-validation, grouped by patient; the report is cv/report.html.
oa-cv features.tsv --labels labels.tsv --clinical bmi --slices 8 -j "$jobs" -o cv > predictions.tsv

# 5. One model of all knees, and its predictions.
oa-train features.tsv --labels labels.tsv --clinical bmi --slices 8 -o jsn12.safetensors > model.tsv
oa-predict jsn12.safetensors --with-clinical labels.tsv < features.tsv > predicted.tsv

# 6. Where the model looks in the progressor that it is surest of.
knee=$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
  $c["label"] == 1 && $c["probability"] > best { best = $c["probability"]; knee = $c["knee"] } END { print knee }' predictions.tsv)
grep -e '^knee' -e "^$knee" n4.tsv | oa-cam jsn12.safetensors --with-clinical labels.tsv -o cam > cam.tsv

# 7. The reading study: pairs of a progressor and another knee, ranked by the model out of fold.
oa-pairs draw labels.tsv --stratum :-0.5:30 --seed 0 --key key.tsv --force > pairs.tsv
oa-pairs score --pairs pairs.tsv --key key.tsv --model predictions.tsv > score.tsv

# What came out. The best possible AUC is that of an observer who reads the planted severity without error.
auc=$(awk -F'\t' '$1 == "images+clinical" && $2 == "mean" && $3 == "roc_auc" { print $4 }' cv/metrics.tsv)
best=$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } NR == 2 { print $c["jsn12_best_auc"] }' oai/truth.tsv)
echo
echo "Phantoms: these numbers say nothing of patients."
echo "cross-validated AUC   $auc   (best possible: $best)"
echo "report                $folder/cv/report.html"
echo "heat map              $folder/$(awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } NR == 2 { print $c["path"] }' cam.tsv)"
