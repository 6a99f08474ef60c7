"""Types beyond skops' own trusted set that were read through, and why a file that names them cannot run code.

A skops file names types and functions and says what to do with them. Whoever forges one may have any name of this list
made without arguments and given any attributes (through `__setstate__` where there is one), called with any arguments
that the list allows, or put where a model calls a function later. So a name stands here only if none of the three can
run code, open a file or reach the network: holders of values, and functions that compute.

Compiled types keep tables of indices that they follow unchecked; `index_tables.py` checks those before a model that
was read from skops is used.

Not here, though models hold them: `scipy.stats` distributions (their `__setstate__` compiles source text from an
attribute), `PyFuncDistance64` (calls any function for every pair of rows), Mahalanobis and standardised Euclidean
distances and `_kmeans_single_lloyd` (compiled loops that trust the lengths of what they are given, which nobody
checks), `joblib.Memory` (opens files), bound methods, lambdas and a user's own functions (nobody has read them).
"""

__all__ = ["REVIEWED_TYPES"]


def _in(module: str, names: str) -> set[str]:
    return {f"{module}.{name}" for name in names.split()}


# Values: numpy reads them without pickle; its kinds of numbers, by which columns are selected; a dict that keeps order.
_VALUES = (
    _in("numpy", "bool character complexfloating datetime64 dtype flexible floating generic inexact integer number")
    | _in("numpy", "signedinteger timedelta64 unsignedinteger")
    | {"collections.OrderedDict"}
) | {
    f"scipy.sparse._{kind}.{kind}_{form}"
    for kind in ("bsr", "coo", "csc", "csr", "dia")
    for form in ("array", "matrix")
}

# Plain holders of numbers and names, written in Python: constructors and __setstate__ call nothing they are given.
_HOLDERS = (
    _in("sklearn.utils._bunch", "Bunch")
    | _in("sklearn.utils._metadata_requests", "MetadataRequest MethodMetadataRequest")
    | _in("sklearn._loss.loss", "HalfTweedieLoss HalfTweedieLossIdentity")
    | _in("sklearn.calibration", "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling")
    | _in("sklearn.cluster._bisect_k_means", "_BisectingTree")
    | _in("sklearn.compose._column_transformer", "make_column_selector")
    | _in("sklearn.compose._column_transformer", "_RemainderColsList")
    | _in("sklearn.gaussian_process._gpc", "_BinaryGaussianProcessClassifierLaplace")
    | _in("sklearn.impute._iterative", "IterativeImputer _ImputerTriplet")
    | _in("sklearn.multiclass", "_ConstantPredictor")
    | _in("sklearn.neural_network._stochastic_optimizers", "AdamOptimizer SGDOptimizer")
)

# Kernels: sums and products of one another. PairwiseKernel may hold a function, which must be on this list too.
_KERNELS = _in(
    "sklearn.gaussian_process.kernels",
    "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Hyperparameter Matern PairwiseKernel "
    "Product RBF RationalQuadratic Sum WhiteKernel",
)

# What a search remembers of its training; nothing of it is used to predict. A scorer holds a function of this list.
_SEARCHES = _in(
    "sklearn.model_selection._split",
    "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut LeavePGroupsOut LeavePOut PredefinedSplit "
    "RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit "
    "TimeSeriesSplit _CVIterableWrapper",
) | (
    _in("sklearn.model_selection._search_successive_halving", "HalvingGridSearchCV HalvingRandomSearchCV")
    | _in("sklearn.metrics._scorer", "_CurveScorer _PassthroughScorer _Scorer")
)

# Functions from arrays to numbers; they check their arguments and touch nothing else.
_FUNCTIONS = (
    _in(
        "sklearn.metrics._classification",
        "accuracy_score balanced_accuracy_score brier_score_loss d2_brier_score d2_log_loss_score f1_score fbeta_score "
        "jaccard_score log_loss matthews_corrcoef precision_score recall_score",
    )
    | _in("sklearn.metrics._ranking", "average_precision_score roc_auc_score top_k_accuracy_score")
    | _in(
        "sklearn.metrics._regression",
        "d2_absolute_error_score explained_variance_score max_error mean_absolute_error mean_absolute_percentage_error "
        "mean_gamma_deviance mean_poisson_deviance mean_squared_error mean_squared_log_error median_absolute_error "
        "r2_score root_mean_squared_error root_mean_squared_log_error",
    )
    | _in("sklearn.metrics._scorer", "negative_likelihood_ratio positive_likelihood_ratio")
    | _in(
        "sklearn.metrics.cluster._supervised",
        "adjusted_mutual_info_score adjusted_rand_score completeness_score fowlkes_mallows_score homogeneity_score "
        "mutual_info_score normalized_mutual_info_score rand_score v_measure_score",
    )
    | _in("sklearn.feature_selection._univariate_selection", "chi2 f_classif f_oneway f_regression r_regression")
    | _in("sklearn.feature_selection._mutual_info", "mutual_info_classif mutual_info_regression")
    | _in("numpy", "amax amin max mean median min sum")
    | _in("scipy._lib.array_api_compat.numpy._aliases", "asarray")
    # HistGradientBoosting's encoder holds `partial(check_array, …)`. A partial runs nothing but the function it was
    # given, and that one is looked up here as well.
    | _in("sklearn.utils.validation", "check_array")
    | {"functools.partial"}
)

# Compiled, with tables of indices: checked after reading (trees, neighbour trees), or made anew (splines).
_TABLES = (
    _in("sklearn.tree._tree", "Tree")
    | _in("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
    | _in("sklearn.neighbors._ball_tree", "BallTree")
    | _in("sklearn.neighbors._kd_tree", "KDTree")
    | _in(
        "sklearn.metrics._dist_metrics",
        "BrayCurtisDistance64 CanberraDistance64 ChebyshevDistance64 DiceDistance64 EuclideanDistance64 "
        "HammingDistance64 HaversineDistance64 JaccardDistance64 ManhattanDistance64 MinkowskiDistance64 "
        "RogersTanimotoDistance64 RussellRaoDistance64 SokalMichenerDistance64 SokalSneathDistance64",
    )
    | _in("scipy.interpolate._bsplines", "BSpline")
)

# Other libraries: their __setstate__ hands a text or a buffer to a native parser that builds trees of it. It calls
# nothing that the file chooses; a forged model could stop the process, and nobody checks their trees.
_LIBRARIES = (
    _in("lightgbm.basic", "Booster")
    | _in("lightgbm.sklearn", "LGBMClassifier LGBMRanker LGBMRegressor")
    | _in("xgboost.core", "Booster")
    | _in("xgboost.sklearn", "XGBClassifier XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor")
)

REVIEWED_TYPES = frozenset(_VALUES | _HOLDERS | _KERNELS | _SEARCHES | _FUNCTIONS | _TABLES | _LIBRARIES)
"""Names that a skops file may use, beyond skops' own, without anybody trusting the file."""
