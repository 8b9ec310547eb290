//! Overlap of boxes as a loss.

/// Against division by zero.
const TINY: f64 = 1e-9;

/// Intersection over union of two boxes x1 y1 x2 y2.
pub fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let w = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let h = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |r: [f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    w * h / (area(a) + area(b) - w * h + TINY)
}

/// 1 − CIoU of a predicted box p and a labelled one t (Zheng et al., arXiv 1911.08287), and its derivatives by the four corners of p.
///
/// ```text
/// 1 − IoU + ρ²/c² + a·v,   v = 4/π²·(atan(w_t/h_t) − atan(w_p/h_p))²,   a = v/(1 − IoU + v)
/// ```
/// ρ: distance of the centres, c: diagonal of the enclosing box. a·v = v²/(1 − IoU + v) is differentiated as a whole; the paper holds a.
///
/// ```
/// let (same, _) = train::loss::ciou([1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 3.0, 3.0]);
/// assert!(same.abs() < 1e-8);
/// let (far, slope) = train::loss::ciou([5.0, 0.0, 6.0, 1.0], [0.0, 0.0, 1.0, 1.0]);
/// assert!(far > 1.0 && slope[0] > 0.0, "a box that does not overlap is pulled");
/// ```
pub fn ciou(p: [f64; 4], t: [f64; 4]) -> (f64, [f64; 4]) {
    let (wp, hp) = (p[2] - p[0], p[3] - p[1]);
    let (wt, ht) = (t[2] - t[0], t[3] - t[1]);
    let iw = p[2].min(t[2]) - p[0].max(t[0]);
    let ih = p[3].min(t[3]) - p[1].max(t[1]);
    let mut inter = 0.0;
    let mut d_inter = [0.0; 4];
    if iw > 0.0 && ih > 0.0 {
        inter = iw * ih;
        d_inter = [
            if p[0] > t[0] { -ih } else { 0.0 },
            if p[1] > t[1] { -iw } else { 0.0 },
            if p[2] < t[2] { ih } else { 0.0 },
            if p[3] < t[3] { iw } else { 0.0 },
        ];
    }
    let union = wp * hp + wt * ht - inter + TINY;
    let overlap = inter / union;
    let d_area = [-hp, -wp, hp, wp];
    let d_overlap: [f64; 4] =
        std::array::from_fn(|k| (d_inter[k] * union - inter * (d_area[k] - d_inter[k])) / (union * union));

    let (dx, dy) = (p[0] + p[2] - t[0] - t[2], p[1] + p[3] - t[1] - t[3]);
    let rho = (dx * dx + dy * dy) / 4.0;
    let d_rho = [dx / 2.0, dy / 2.0, dx / 2.0, dy / 2.0];
    let cw = p[2].max(t[2]) - p[0].min(t[0]);
    let ch = p[3].max(t[3]) - p[1].min(t[1]);
    let diagonal = cw * cw + ch * ch + TINY;
    let d_diagonal = [
        if p[0] < t[0] { -2.0 * cw } else { 0.0 },
        if p[1] < t[1] { -2.0 * ch } else { 0.0 },
        if p[2] > t[2] { 2.0 * cw } else { 0.0 },
        if p[3] > t[3] { 2.0 * ch } else { 0.0 },
    ];

    let four = 4.0 / (std::f64::consts::PI * std::f64::consts::PI);
    let turn = libm::atan2(wt, ht) - libm::atan2(wp, hp);
    let v = four * turn * turn;
    let square = wp * wp + hp * hp + TINY;
    // ∂ atan(w/h) = h/(w² + h²) by w, −w/(w² + h²) by h.
    let (d_w, d_h) = (-2.0 * four * turn * hp / square, 2.0 * four * turn * wp / square);
    let d_v = [-d_w, -d_h, d_w, d_h];
    let below = 1.0 - overlap + v + TINY;

    let loss = 1.0 - overlap + rho / diagonal + v * v / below;
    let slope = std::array::from_fn(|k| {
        -d_overlap[k]
            + (d_rho[k] * diagonal - rho * d_diagonal[k]) / (diagonal * diagonal)
            + (2.0 * v * below * d_v[k] - v * v * (d_v[k] - d_overlap[k])) / (below * below)
    });
    (loss, slope)
}
