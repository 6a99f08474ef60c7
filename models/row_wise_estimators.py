"""Which scikit-learn estimators answer each row by itself, so that rows of several requests may share a call."""

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["ROW_WISE", "answers_row_by_row"]

_COMPOSITE = """
    Pipeline FeatureUnion ColumnTransformer _RemainderColsList
    GridSearchCV RandomizedSearchCV HalvingGridSearchCV HalvingRandomSearchCV
    FixedThresholdClassifier TunedThresholdClassifierCV FrozenEstimator
    CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration _TemperatureScaling
    VotingClassifier VotingRegressor StackingClassifier StackingRegressor
    OneVsRestClassifier OneVsOneClassifier OutputCodeClassifier _ConstantPredictor
    MultiOutputClassifier MultiOutputRegressor ClassifierChain RegressorChain
    SelfTrainingClassifier TransformedTargetRegressor BaggingClassifier BaggingRegressor
"""

_LINEAR = """
    LinearRegression Ridge RidgeCV RidgeClassifier RidgeClassifierCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC
    ElasticNet ElasticNetCV MultiTaskLasso MultiTaskLassoCV MultiTaskElasticNet MultiTaskElasticNetCV Lars LarsCV
    OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV BayesianRidge ARDRegression LogisticRegression
    LogisticRegressionCV SGDClassifier SGDRegressor SGDOneClassSVM Perceptron PassiveAggressiveClassifier
    PassiveAggressiveRegressor HuberRegressor QuantileRegressor RANSACRegressor TheilSenRegressor PoissonRegressor
    GammaRegressor TweedieRegressor IsotonicRegression LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis
    PLSRegression PLSCanonical CCA PLSSVD
"""

_TREES = """
    DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor RandomForestClassifier
    RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor RandomTreesEmbedding GradientBoostingClassifier
    GradientBoostingRegressor HistGradientBoostingClassifier HistGradientBoostingRegressor AdaBoostClassifier
    AdaBoostRegressor IsolationForest
"""

_OTHER_PREDICTORS = """
    SVC NuSVC SVR NuSVR LinearSVC LinearSVR OneClassSVM EllipticEnvelope GaussianNB MultinomialNB ComplementNB
    BernoulliNB CategoricalNB KNeighborsClassifier KNeighborsRegressor RadiusNeighborsClassifier
    RadiusNeighborsRegressor NearestCentroid NearestNeighbors LocalOutlierFactor MLPClassifier MLPRegressor KernelRidge
    GaussianProcessClassifier GaussianProcessRegressor _BinaryGaussianProcessClassifierLaplace GaussianMixture
    BayesianGaussianMixture LabelPropagation LabelSpreading KMeans MiniBatchKMeans BisectingKMeans Birch MeanShift
    AffinityPropagation KernelDensity DummyRegressor
"""

_TRANSFORMERS = """
    StandardScaler MinMaxScaler MaxAbsScaler RobustScaler Normalizer Binarizer QuantileTransformer PowerTransformer
    PolynomialFeatures SplineTransformer KBinsDiscretizer KernelCenterer OneHotEncoder OrdinalEncoder TargetEncoder
    LabelEncoder SimpleImputer KNNImputer MissingIndicator
    SelectKBest SelectPercentile SelectFpr SelectFdr SelectFwe GenericUnivariateSelect VarianceThreshold SelectFromModel
    RFE RFECV SequentialFeatureSelector
    PCA IncrementalPCA TruncatedSVD KernelPCA FactorAnalysis FastICA FeatureAgglomeration NeighborhoodComponentsAnalysis
    GaussianRandomProjection SparseRandomProjection Nystroem RBFSampler PolynomialCountSketch SkewedChi2Sampler
    AdditiveChi2Sampler KNeighborsTransformer RadiusNeighborsTransformer
    CountVectorizer TfidfVectorizer TfidfTransformer HashingVectorizer DictVectorizer
"""

ROW_WISE = frozenset(f"{_COMPOSITE} {_LINEAR} {_TREES} {_OTHER_PREDICTORS} {_TRANSFORMERS}".split())
"""scikit-learn classes, read through, whose predict and transform look at one row at a time.

Left out: what iterates over the rows it is given (NMF, SparsePCA, DictionaryLearning, LatentDirichletAllocation,
IterativeImputer, their MiniBatch forms), embeddings (Isomap, LocallyLinearEmbedding), what draws random numbers
(BernoulliRBM, a DummyClassifier unless it is constant), and LabelBinarizer, which looks at all labels together.
"""

_ALSO_ROW_WISE = frozenset(
    f"{module}.{name}"
    for module, names in {
        "xgboost.sklearn": "XGBClassifier XGBRegressor XGBRFClassifier XGBRFRegressor XGBRanker",
        "lightgbm.sklearn": "LGBMClassifier LGBMRegressor LGBMRanker",
        "catboost.core": "CatBoostClassifier CatBoostRegressor CatBoostRanker",
    }.items()
    for name in names.split()
)

_LIBRARIES = ("sklearn.", "numpy", "scipy.")


def answers_row_by_row(fitted: Any) -> bool:
    """Tell whether the estimator, and everything inside it, is of a type that answers each row by itself.

    A user's own class or function is none: nobody has read it.
    """
    return all(_is_row_wise(estimator) for estimator in _estimators(fitted, set()))


def _is_row_wise(estimator: Any) -> bool:
    kind = type(estimator)
    if any(_is_own_function(value) for value in vars(estimator).values()):
        return False
    if kind.__name__ == "FunctionTransformer":  # nothing, or a function of each number by itself
        return all(f is None or isinstance(f, np.ufunc) for f in (estimator.func, estimator.inverse_func))
    if kind.__name__ == "DummyClassifier":
        return estimator.strategy in ("most_frequent", "prior", "constant")
    if not kind.__module__.startswith("sklearn."):
        return f"{kind.__module__}.{kind.__name__}" in _ALSO_ROW_WISE
    return kind.__name__ in ROW_WISE


def _is_own_function(value: Any) -> bool:
    return callable(value) and not str(getattr(value, "__module__", None) or type(value).__module__).startswith(
        _LIBRARIES
    )


def _estimators(value: Any, seen: set[int]) -> Iterator[Any]:
    """Give the estimator and those among its attributes, in lists, tuples, dicts and arrays too."""
    if id(value) in seen or isinstance(value, str | int | float | None):
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        inner = value.ravel().tolist() if value.dtype == object else []
    elif isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value) if _may_hold_estimators(value) else []
    elif hasattr(value, "fit") and not isinstance(value, type):
        yield value
        inner = list(vars(value).values())
    else:
        return
    for item in inner:
        yield from _estimators(item, seen)


def _may_hold_estimators(values: list[Any] | tuple[Any, ...]) -> bool:
    return not (values and isinstance(values[0], str | int | float) and isinstance(values[-1], str | int | float))
