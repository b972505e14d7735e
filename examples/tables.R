# The tables of oatools in R, without packages: what oa-cv reports, computed again.
#
#     Rscript tables.R cv labels.tsv
#
# cv is the folder of `oa-cv -o cv`, labels.tsv the table of labels that it was given. Tables have a
# header, tabs between cells, no quotes, and n/a for what is missing.

arguments <- commandArgs(trailingOnly = TRUE)
folder <- if (length(arguments) > 0) arguments[1] else "cv"
labels_file <- if (length(arguments) > 1) arguments[2] else "labels.tsv"

read <- function(file) {
  # Ids keep their zeros, names their spaces, and # and quotes are letters like any other.
  read.delim(file, na.strings = "n/a", quote = "", comment.char = "", check.names = FALSE,
             colClasses = c(knee = "character", subject = "character"))
}

# The area under the ROC curve: the share of pairs that are in order, ties half (Mann and Whitney).
roc_auc <- function(label, p) {
  n1 <- sum(label == 1)
  n0 <- sum(label == 0)
  (sum(rank(p)[label == 1]) - n1 * (n1 + 1) / 2) / (n1 * n0)
}

# The average precision: the precision at each positive knee, knees of one probability together.
pr_auc <- function(label, p) {
  at <- sort(unique(p), decreasing = TRUE)
  hits <- sapply(at, function(t) sum(label[p >= t] == 1))
  called <- sapply(at, function(t) sum(p >= t))
  sum(diff(c(0, hits)) * hits / called) / sum(label == 1)
}

# F1 at the threshold of each knee's fold, which was found in training knees alone.
f1 <- function(label, predicted) {
  both <- sum(label) + sum(predicted)
  if (both == 0) 0 else 2 * sum(label & predicted) / both
}

scores <- function(knees) {
  c(
    roc_auc = roc_auc(knees$label, knees$probability),
    pr_auc = pr_auc(knees$label, knees$probability),
    f1 = f1(knees$label, knees$predicted),
    brier = mean((knees$probability - knees$label)^2)
  )
}

metrics <- read.delim(file.path(folder, "metrics.tsv"), na.strings = "n/a", quote = "")
models <- unique(metrics$model[metrics$scope == "pooled"])
repeats <- list.files(folder, pattern = "^repeat-[0-9]+$", full.names = TRUE)

# Predictions of the model itself, and of each that stands beside it: predictions-images-linear.tsv.
file_of <- function(model) {
  if (model == models[1]) "predictions.tsv"
  else paste0("predictions-", gsub("[^a-z0-9]+", "-", tolower(model)), ".tsv")
}

compared <- 0
agrees <- function(model, scope, computed) {
  for (name in names(computed)) {
    here <- metrics$model == model & metrics$scope == scope & metrics$metric == name
    reported <- metrics$value[here]
    stopifnot(length(reported) == 1, abs(reported - computed[[name]]) < 1e-6)
    compared <<- compared + 1
  }
}

for (model in models) {
  file <- file.path(folder, file_of(model))
  if (!file.exists(file)) next # of another run: see oa-cv --against
  knees <- subset(read(file), fold > 0)
  stopifnot(all(knees$predicted == (knees$probability >= knees$threshold)))
  agrees(model, "pooled", scores(knees))

  by_fold <- sapply(split(knees, knees$fold), scores)
  for (fold in colnames(by_fold)) agrees(model, paste0("fold-", fold), by_fold[, fold])

  # The mean is over folds, and then over repeats with other folds.
  means <- sapply(c(file, file.path(repeats, file_of(model))), function(run) {
    rowMeans(sapply(split(read(run), read(run)$fold), scores))
  })
  agrees(model, "mean", rowMeans(means))
  cat(sprintf("%-20s ROC AUC %.3f, PR AUC %.3f, F1 %.3f, Brier %.3f\n", model,
              rowMeans(means)[["roc_auc"]], scores(knees)[["pr_auc"]],
              scores(knees)[["f1"]], scores(knees)[["brier"]]))
}

# Labels and predictions have the knee in common. Both knees of a patient are in one fold.
knees <- merge(read(file.path(folder, "predictions.tsv")), read(labels_file),
               by = "knee", suffixes = c("", ".of_labels"))
stopifnot(nrow(knees) > 0, all(knees$label == knees$label.of_labels))
stopifnot(all(tapply(knees$fold, knees$subject, function(fold) length(unique(fold))) == 1))
cat(nrow(knees), "knees of", length(unique(knees$subject)), "patients,",
    sum(knees$label), "positive;", compared, "numbers agree with metrics.tsv to 1e-6\n")

# Where they come from phantoms or random weights, the tables say so.
if ("caution" %in% names(metrics)) cat("caution:", unique(metrics$caution), "\n")
