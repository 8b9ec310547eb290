//! What becomes integer in small graphs drawn like real detectors.

use graph::{Binary, Conv, Padding};
use tensor::{DType, Tensor};

use super::*;

struct Net(Graph);

impl Net {
    fn new() -> (Self, ValueId) {
        let mut g = Graph::new("net");
        let x = g.add_value(
            "x",
            Some(DType::F32),
            Some(vec![Some(1), Some(4), Some(8), Some(8)]),
        );
        g.inputs.push(x);
        (Net(g), x)
    }

    fn conv_of(&mut self, x: ValueId, name: &str, shape: [usize; 4], group: usize) -> ValueId {
        let w = Tensor::new(shape.to_vec(), vec![0.5f32; shape.iter().product()]).unwrap();
        let w = self.0.add_constant(&format!("{name}.w"), w);
        let b = self
            .0
            .add_constant(&format!("{name}.b"), Tensor::vector(vec![0f32; shape[0]]));
        let conv = Conv {
            kernel: shape[2..].to_vec(),
            strides: vec![1, 1],
            dilations: vec![1, 1],
            padding: Padding::SameUpper,
            group,
        };
        self.0.add_node(Op::Conv(conv), &[x, w, b], name)
    }

    fn conv(&mut self, x: ValueId, name: &str) -> ValueId {
        self.conv_of(x, name, [4, 4, 1, 1], 1)
    }

    fn unary(&mut self, x: ValueId, op: Unary, name: &str) -> ValueId {
        self.0.add_node(Op::Unary(op), &[x], name)
    }

    fn plan(&self) -> Plan {
        plan(&self.0, &request(&[])).unwrap()
    }

    fn name(&self, v: ValueId) -> &str {
        &self.0.value(v).name
    }

    /// Groups as sorted names.
    fn groups(&self, plan: &Plan) -> Vec<String> {
        let names = |g: &EdgeGroup| {
            let mut names: Vec<&str> = g.members.iter().map(|&v| self.name(v)).collect();
            names.sort_unstable();
            names.join(" ")
        };
        plan.groups.iter().map(names).collect()
    }
}

fn request(rules: &[&str]) -> Request {
    Request {
        grid: "int8".parse().unwrap(),
        project: ProjectOptions::default(),
        act_bits: 6,
        observer: ObserverKind::Mse,
        rules: rules.iter().map(|r| r.parse().unwrap()).collect(),
        float_layers: BTreeSet::new(),
    }
}

/// x → conv a → Relu → conv b → SiLU → heads: box and score convolutions, sigmoid on scores, one Concat of both.
fn detector() -> Net {
    let (mut net, x) = Net::new();
    let a = net.conv(x, "a");
    let a = net.unary(a, Unary::Relu, "a.relu");
    let b = net.conv_of(a, "b", [4, 1, 3, 3], 4);
    let b = net.unary(b, Unary::Swish { alpha: 1.0 }, "b.silu");
    let c = net.conv(b, "c");
    let c = net.unary(c, Unary::Relu, "c.relu");
    let boxes = net.conv(c, "boxes");
    let scores = net.conv(c, "scores");
    let scores = net.unary(scores, Unary::Sigmoid, "scores.sigmoid");
    let out = net.0.add_node(Op::Concat { axis: 1 }, &[boxes, scores], "out");
    net.0.outputs.push(out);
    net
}

#[test]
fn heads_write_floats_and_decode_stays_float() {
    let net = detector();
    let plan = net.plan();
    let float_out: Vec<&str> = plan
        .weights
        .iter()
        .filter(|w| w.float_output)
        .map(|w| net.name(w.output))
        .collect();
    assert_eq!(float_out, ["boxes", "scores"]);
    assert_eq!(net.groups(&plan), ["x", "a a.relu", "b", "b.silu", "c c.relu"]);
    assert!(plan.floats.is_empty() && plan.joins.is_empty());
    let roles: Vec<Role> = plan.weights.iter().map(|w| w.role).collect();
    assert_eq!(
        roles,
        [
            Role::First,
            Role::Depthwise,
            Role::Pointwise,
            Role::Head,
            Role::Head
        ]
    );
    // A clamp's group is seen behind the clamp; SiLU's input counts through SiLU; pictures keep 8 bits.
    let observed: Vec<&str> = plan.groups.iter().map(|g| net.name(g.observe[0])).collect();
    assert_eq!(observed, ["x", "a.relu", "b", "b.silu", "c.relu"]);
    assert!(matches!(plan.groups[2].through, Some(Unary::Swish { .. })));
    assert_eq!(
        plan.groups.iter().map(|g| g.bits).collect::<Vec<_>>(),
        [8, 6, 6, 6, 6]
    );
}

#[test]
fn a_layer_whose_input_stays_f32_is_float_unless_an_override_names_it() {
    let net = detector();
    let of = |rules: &[&str]| {
        let layers = net.plan().weights;
        let request = Request {
            float_layers: BTreeSet::from([layers[1].node]),
            ..request(rules)
        };
        super::plan(&net.0, &request).unwrap()
    };
    let plan = of(&[]);
    // Its input, `a`, carries no codes, and its activation is computed before anything is rounded.
    assert_eq!(net.groups(&plan), ["x", "b.silu", "c c.relu"]);
    assert!(plan.weights[0].float_output && plan.floats[0].reason.contains("input"));
    assert_eq!(of(&["depthwise=int4"]).floats, []);
}

#[test]
fn a_sum_kept_float_takes_f32_of_its_branches_and_is_rounded_behind_its_activation() {
    let (mut net, x) = Net::new();
    let a = net.conv(x, "a");
    let b = net.conv(x, "b");
    let sum = net.0.add_node(Op::Binary(Binary::Add), &[a, b], "sum");
    let node = net.0.nodes.len() - 1;
    let sum = net.unary(sum, Unary::Relu, "relu");
    let y = net.conv(sum, "y");
    net.0.outputs.push(y);
    assert_eq!(net.groups(&net.plan()), ["x", "a", "b", "relu sum"]);
    let request = Request {
        float_layers: BTreeSet::from([node]),
        ..request(&[])
    };
    let plan = super::plan(&net.0, &request).unwrap();
    assert_eq!(net.groups(&plan), ["x", "relu"]);
    assert_eq!(plan.weights.len(), 3);
    assert!(plan.weights[0].float_output && plan.weights[1].float_output);
}

#[test]
fn moved_codes_share_and_concats_join_where_it_costs_little() {
    let (mut net, x) = Net::new();
    let a = net.conv(x, "a");
    let a = net.unary(a, Unary::Relu, "a.relu");
    let t = net.0.add_node(
        Op::Transpose {
            perm: Some(vec![0, 1, 3, 2]),
        },
        &[a],
        "t",
    );
    let b = net.conv(x, "b");
    let cat = net.0.add_node(Op::Concat { axis: 1 }, &[t, b], "cat");
    let y = net.conv_of(cat, "y", [4, 8, 1, 1], 1);
    net.0.outputs.push(y);
    let plan = net.plan();
    let mut groups = net.groups(&plan);
    groups.sort();
    assert_eq!(groups, ["a a.relu t", "b", "cat", "x"]);
    assert_eq!(plan.joins.len(), 1);
    for (b_range, joined) in [(3.0, true), (100.0, false)] {
        let mut observers = plan.observers();
        for (v, g) in plan.observed() {
            let range: f32 = match net.name(v) {
                "b" => b_range,
                "cat" => b_range.max(2.0),
                _ => 2.0,
            };
            let values: Vec<f32> = (0..=1000).map(|i| range * i as f32 / 1000.0).collect();
            observers[g].observe(&values);
        }
        let q = plan.quantizers(&net.0, &observers).unwrap();
        let of = |name: &str| q[&net.0.find(name).unwrap()];
        assert_eq!(of("t"), of("a"));
        assert_eq!(of("a") == of("cat"), joined, "b up to {b_range}");
        assert_eq!(of("b"), of("cat"));
    }
}

#[test]
fn float_islands_and_decode_products() {
    let (mut net, x) = Net::new();
    let mean = net.0.add_constant("mean", Tensor::vector(vec![0.5f32]));
    let x = net.0.add_node(Op::Binary(Binary::Sub), &[x, mean], "normalized");
    let a = net.conv(x, "a");
    let s = net.0.add_node(Op::Softmax { axis: 1 }, &[a], "soft");
    let dfl = net.conv_of(s, "dfl", [1, 4, 1, 1], 1);
    net.0.outputs.push(dfl);
    let plan = net.plan();
    // Arithmetic with constants before the first layer is float; its result is quantized.
    assert_eq!(net.groups(&plan), ["normalized"]);
    assert_eq!(plan.weights.len(), 1);
    assert!(plan.weights[0].float_output);
    assert!(plan.floats[0].reason.contains("decode"), "{:?}", plan.floats);
}

#[test]
fn residual_adds_have_their_own_quantizer_and_shared_edges_stay_two_sided() {
    let (mut net, x) = Net::new();
    let a = net.conv(x, "a");
    let relu = net.unary(a, Unary::Relu, "relu");
    let sum = net.0.add_node(Op::Binary(Binary::Add), &[a, relu], "sum");
    let y = net.conv(sum, "y");
    net.0.outputs.push(y);
    let plan = net.plan();
    // `a` is read twice, so Relu may not lend it its one-sided quantizer.
    assert_eq!(net.groups(&plan), ["x", "a", "relu", "sum"]);
    assert!(plan.groups[1].through.is_none());
}

#[test]
fn overrides_pick_layers_and_mistakes_are_answered() {
    let net = detector();
    let rules = [
        "depthwise=int4",
        "re:^box=float",
        "type:Conv=lbw4",
        "c=affine8",
        "head=pow2-4",
        "boxes=float",
    ];
    let plan = plan(&net.0, &request(&rules)).unwrap();
    let grids: Vec<String> = plan.weights.iter().map(|w| w.grid.to_string()).collect();
    assert_eq!(grids, ["lbw4", "lbw4", "affine8", "pow2-4"]);
    assert!(plan.floats[0].reason.contains("boxes=float"));
    let fail = |rule: &str| super::plan(&net.0, &request(&[rule])).unwrap_err().to_string();
    assert!(fail("boxs=int8").contains("did you mean \"boxes\"?"));
    assert!(fail("type:Cnv=int8").contains("type:Conv"));
    assert!(fail("re:^zzz=int8").contains("names no weighted layer"));
    assert!(
        "depthwise=int9"
            .parse::<Rule>()
            .unwrap_err()
            .contains("did you mean")
    );
    assert!("depthwise".parse::<Rule>().is_err() && "re:(=int8".parse::<Rule>().is_err());
    assert_eq!(
        super::plan(
            &net.0,
            &Request {
                act_bits: 9,
                ..request(&[])
            }
        ),
        Err(AnnotateError::ActBits(9))
    );
}

#[test]
fn values_that_are_not_finite_name_the_edge() {
    let net = detector();
    let plan = net.plan();
    let mut observers = plan.observers();
    observers[1].observe(&[1.0, f32::NAN]);
    let error = plan.quantizers(&net.0, &observers).unwrap_err().to_string();
    assert!(
        error.contains("a, a.relu") && error.contains("1 calibration values"),
        "{error}"
    );
}
