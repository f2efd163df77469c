"""Names in the text of generated modules that come from no spec. Written by scripts/fixed_names.py."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# what modules define
GLOBALS = words(
    """
    ADD ANNOTATED ASSIGN AbstractTemplate Annotated AppDirs AttributeTemplate BLOCK COMBINED COMPILING CONSTANTS
    CONTRACT COUNT CREWS Cache CodeType CompileResult Compiling Conversion Crew Data ENDS ENTRIES Elements FunctionType
    GAP INPUTS INTEGER IN_THREADS Input Integer LABELED LAYERS LEAVES Layer MARKED MIXED_AXES MKL Memory ModuleType
    NEGATE Named NamedTuple Natural NumbaPickler OF_REALS OPTIONS PARAMETERS PLACES PREDICTED_BY_ROW PREDICTION_INPUTS
    Parameter Path Placed PlacedAttribute PlacedElement PlacedModel Places PlacesAttribute PlacesModel PredictionData
    Proved RANDOM RANKS REAL Reader Real SAMPLE_AXIS SERIAL SHAPE SIZES SLOTS SUBTRACT Shaped ShapedModel
    SimpleNamespace Size State Symbol THIS THREAD TWO_OVER_PI Viewing Views Writer _Cache _Intrinsic __name__ _helperlib
    activations add_gradients_in_tree add_in_tree after_kernels aliased_kernel aligned annotations array_of as_real
    atomic_increment atomic_read attribute_of batches_of binding borrowed buffers cgutils check_array check_count
    check_hyperparameter check_input check_inputs check_labels check_order check_rows check_single check_state
    check_vector checked compiled config constants_of_block contextlib contiguous cos descend descend_on descent
    descent_of difference digest dis draw element_of elementary emitted entry epoch epoch_by_leaves epoch_of evaluate
    evaluation_gradient evaluation_gradient_buffers evaluation_gradient_kernel evaluation_gradient_memory
    evaluation_input_gradients evaluation_input_gradients_buffers evaluation_input_gradients_kernel
    evaluation_input_gradients_memory exp exp_parts expected_labels expm1_near_zero facts for_each forward fraction
    function functools gather gauss_newton_vector_product gauss_newton_vector_product_buffers
    gauss_newton_vector_product_kernel gauss_newton_vector_product_memory gc gemm get_num_threads global_compiler_lock
    gradient_by_batches gradient_kernel gradient_of gradient_of_batches gradients_of_leaves half_expm1 hashlib hessian
    hessian_buffers hessian_diagonal hessian_diagonal_buffers hessian_diagonal_kernel hessian_diagonal_memory
    hessian_kernel hessian_memory hessian_vector_product hessian_vector_product_buffers hessian_vector_product_kernel
    hessian_vector_product_memory in_threads infer_getattr infer_global initial_parameters inspect internal intrinsic ir
    is_in_blocks is_to_compile itertools jacobian jacobian_buffers jacobian_kernel jacobian_memory
    jacobian_vector_product jacobian_vector_product_buffers jacobian_vector_product_kernel
    jacobian_vector_product_memory kept_gradients kept_memory kernel kind labels_in_range layout layout_of leaves_of
    llvmlite log log_shifted looks_at_layers loss loss_and_gradient loss_and_input_gradients
    loss_and_input_gradients_buffers loss_and_input_gradients_kernel loss_and_input_gradients_memory loss_kernel
    losses_by_leaves lower_builtin lower_cast lower_getattr_generic made_by marked math maximum mean_gradient meet
    models names_in nearest new_memory njit np numba number_of objective_of objectives_of_leaves observation observe
    of_natural of_ordinal of_rows only_process operator optimizer_state ordinal orthogonal os over_rows p
    parallel_kernel parts parts_of pasted per_sample_gradients per_sample_gradients_buffers per_sample_gradients_kernel
    per_sample_gradients_memory philox pickle power_of_two prange predict predicted prediction_kernel proved_element
    quarter_turns real refuse_labels refuse_rows register_model residuals residuals_buffers residuals_kernel
    residuals_memory rows_of scaled scratch shutil sin slot slots sparse_rows split square start step sum_of_squares
    sums_of_leaves sys take_next tanh this_threads_memory threading time train_epoch truncated_normal types undisturbed
    uniform unsigned update update_kernel update_range upper_half use_mkl vector_jacobian_product
    vector_jacobian_product_buffers vector_jacobian_product_kernel vector_jacobian_product_memory view view_of views
    warnings whole_array workspace written_as yield_processor
    """
)

# what functions that take inputs from callers refer to, and their other arguments
BESIDE_INPUTS = words(
    """
    INPUTS Input batch_size bool check_count check_hyperparameter check_input check_inputs check_labels check_vector
    descent_of dict drop_last epoch epoch_of float gauss_newton_vector_product_kernel gauss_newton_vector_product_memory
    gradient_by_batches gradient_of gradient_of_batches hessian_diagonal_kernel hessian_diagonal_memory hessian_kernel
    hessian_memory hessian_vector_product_kernel hessian_vector_product_memory jacobian_kernel jacobian_memory
    jacobian_vector_product_kernel jacobian_vector_product_memory kept_memory looks_at_layers
    loss_and_input_gradients_kernel loss_and_input_gradients_memory np objective_of observation order parameters
    per_sample_gradients_kernel per_sample_gradients_memory predicted prediction_kernel real residuals_kernel
    residuals_memory sparse_rows state steps vector_jacobian_product_kernel vector_jacobian_product_memory
    """
)

# all that these have
BESIDE_RESULTS = words(
    """
    INPUTS Input arrays batch_size check_hyperparameter check_input check_inputs check_labels check_vector descent_of
    diagonal dict drop_last epoch epoch_of float gauss_newton_vector_product_kernel gauss_newton_vector_product_memory
    gradient_by_batches gradient_of gradient_of_batches hessian_diagonal_kernel hessian_diagonal_memory hessian_kernel
    hessian_memory hessian_vector_product_kernel hessian_vector_product_memory jacobian_kernel jacobian_memory
    jacobian_vector_product_kernel jacobian_vector_product_memory kept_memory looks_at_layers loss
    loss_and_input_gradients_kernel loss_and_input_gradients_memory memory np objective_of observation order parameters
    parts per_sample_gradients_kernel per_sample_gradients_memory predicted prediction_kernel product rates real
    residuals_kernel residuals_memory sizes sparse_rows state steps vector_jacobian_product_kernel
    vector_jacobian_product_memory
    """
)

# all that compiled functions of the whole model have, which take inputs and constants
BESIDE_ARRAYS = words(
    """
    ASSIGN Data Memory PredictionData State add_gradients_in_tree alpha_beta bar batch batch_size borrowed buffers
    compiled data diagonal dot drop_last first forward gather gauss_newton_vector_product_buffers gradient
    gradient_kernel hessian_buffers hessian_diagonal_buffers hessian_vector_product_buffers i i0 i1 integers
    jacobian_buffers jacobian_vector_product_buffers k leaf leaf_gradients loss_and_input_gradients_buffers loss_kernel
    losses mean meet meeting member members memory min objective objectives observe observed of_block order parameters
    per_sample_gradients_buffers product range real reals residuals_buffers rows rows_of_all rows_of_batch rows_of_block
    rows_of_leaf seen share split start state step steps stop theta total update_kernel update_range
    vector_jacobian_product_buffers view work
    """
)

# all that functions have where hyperparameters, slots and other values of a rule stand
BESIDE_RULE = words(
    """
    Data Memory State add_gradients_in_tree alpha_beta arrays bar batch batch_size borrowed buffers check_hyperparameter
    check_state check_vector compiled data descent_of drop_last epoch epoch_of factor_1 factor_2 factor_3 first float
    forward gather gradient gradient_norm i i1 integers internal into k leaf leaf_gradients losses mean meet meeting
    member members memory min np objective objectives of_block order parameters pasted rates real reals rows
    rows_of_batch rows_of_block rows_of_leaf seen share split start state step steps stop sum_of_squares t tensor_norm
    theta update_kernel update_range view work
    """
)

# all that functions have where sizes known at run time stand
BESIDE_SIZES = words(
    """
    Memory Views aligned buffers layout memory new_memory np slot slots
    """
)

# those among all these that only modules have which draw, or differ in evaluation
OF_MODES = words(
    """
    bool check_count draw evaluate evaluation_gradient evaluation_gradient_buffers evaluation_gradient_kernel
    evaluation_gradient_memory evaluation_input_gradients_buffers evaluation_input_gradients_kernel
    evaluation_input_gradients_memory first_step gradient number row seed step_number take_next training uniform
    """
)
