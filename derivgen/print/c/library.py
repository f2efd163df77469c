"""stub"""

R = {"float32": "float", "float64": "double"}


def library_prototypes(used, dtype):
    r = R[dtype]
    o = []
    for n, d in used:
        if n == "gemm":
            o.append(
                f"static void gemm(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, {r} alpha, const {r} *a, ptrdiff_t ar, ptrdiff_t ac, const {r} *b, ptrdiff_t br, ptrdiff_t bc, {r} beta, {r} *c, ptrdiff_t cr, ptrdiff_t cc);"
            )
        if n == "observe":
            o.append(f"static void observe(const {r} *values, ptrdiff_t rows, ptrdiff_t count, double *observed);")
        if n == "uniform":
            o.append(
                f"static void uniform(int64_t seed, int64_t step, ptrdiff_t number, ptrdiff_t row, {r} *out, ptrdiff_t rows, ptrdiff_t columns);"
            )
        if n == "sum_of_squares":
            o.append(f"static double sum_of_squares(const {r} *v, ptrdiff_t start, ptrdiff_t stop);")
        if n == "floor_mod":
            o.append(
                "static ptrdiff_t floor_mod(ptrdiff_t a, ptrdiff_t b) { ptrdiff_t m = a % b; return ((m != 0) && ((m < 0) != (b < 0))) ? m + b : m; }"
            )
    return o


def library_texts(used, dtype):
    r = R[dtype]
    o = []
    for n, d in used:
        if n == "gemm":
            o.append(
                library_prototypes([(n, d)], dtype)[0][:-1]
                + "{ for (ptrdiff_t i=0;i<rows;i++) for (ptrdiff_t j=0;j<columns;j++) { "
                + r
                + " s=0; for (ptrdiff_t k=0;k<inner;k++) s+=a[i*ar+k*ac]*b[k*br+j*bc]; c[i*cr+j*cc] = alpha*s + ((beta != 0) ? beta*c[i*cr+j*cc] : 0); } }"
            )
        if n == "observe":
            o.append(
                library_prototypes([(n, d)], dtype)[0][:-1] + "{(void)values;(void)rows;(void)count;(void)observed;}"
            )
        if n == "sum_of_squares":
            o.append(
                library_prototypes([(n, d)], dtype)[0][:-1]
                + "{ double t=0; for (ptrdiff_t i=start;i<stop;i++) t+=(double)v[i]*(double)v[i]; return t; }"
            )
        if n == "uniform":
            o.append(
                library_prototypes([(n, d)], dtype)[0][:-1]
                + "{ (void)seed;(void)step;(void)number;(void)row; for (ptrdiff_t i=0;i<rows*columns;i++) out[i]=("
                + r
                + ")0.4; }"
            )
    return o
