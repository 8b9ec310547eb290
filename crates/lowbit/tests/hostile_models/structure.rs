//! Nesting, functions, cycles, size: rows 7 and 8.

use super::*;

/// A message nested `depth` times in a field, from the inside out.
fn nested(field: u8, depth: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let mut length = reversed.len();
        let mut head = vec![field << 3 | 2];
        loop {
            let low = (length & 0x7f) as u8;
            length >>= 7;
            head.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        reversed.extend(head.iter().rev());
    }
    reversed.reverse();
    reversed
}

#[test]
fn nesting_of_any_depth_is_refused_without_a_deep_stack() {
    for depth in [1, 2, 31, 32, 33, 100, 1_000, 10_000, 100_000] {
        // Types of sequences of sequences (field 4 of TypeProto, 1 of Sequence): two levels of messages each.
        let ty = Message(nested(4, depth));
        let odd = Message::default().bytes(1, "odd").message(2, ty);
        let model = Graph::x_to_y()
            .input(odd)
            .node("Relu", &["x"], &["y"], &[])
            .model(18);
        assert!(load(&model).is_err(), "sequences {depth} deep load");
        // Any message in itself: graph → graph → …, model → …
        for field in 1..=15 {
            let bytes = nested(field, depth);
            assert!(load(&bytes).is_err(), "field {field}, {depth} deep");
        }
    }
    // Graphs in attributes of nodes of graphs.
    for depth in [1, 2, 31, 33, 300] {
        let mut inner = Graph::x_to_y().node("Relu", &["x"], &["y"], &[]);
        for _ in 0..depth {
            inner = Graph::x_to_y().node("If", &["x"], &["y"], &[graph("then_branch", inner)]);
        }
        let e = load(&inner.model(18)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
    }
}

#[test]
fn functions_that_call_each_other_end() {
    let call = |name: &str, to: &str, times: usize| {
        let mut f = Message::default()
            .bytes(1, name)
            .bytes(4, "a")
            .bytes(5, "b")
            .bytes(10, "own");
        for k in 0..times {
            let from = if k == 0 { "a".to_string() } else { format!("t{k}") };
            let out = if k + 1 == times {
                "b".to_string()
            } else {
                format!("t{}", k + 1)
            };
            f = f.message(7, proto::node(to, &[&from], &[&out], &[]));
        }
        let opset = |domain: &str| Message::default().bytes(1, domain).int(2, 1);
        f.message(9, opset("own"))
            .message(9, Message::default().bytes(1, "").int(2, 18))
    };
    let model = |functions: Vec<Message>| {
        let mut m = Message(Graph::x_to_y().node("own:f0", &["x"], &["y"], &[]).model(18));
        m = m.message(8, Message::default().bytes(1, "own").int(2, 1));
        functions.into_iter().fold(m, |m, f| m.message(25, f)).0
    };
    // Itself, in a circle, and 2^k calls in k functions.
    let itself = model(vec![call("f0", "own:f0", 1)]);
    let circle = model(vec![call("f0", "own:f1", 1), call("f1", "own:f0", 1)]);
    for bytes in [itself, circle] {
        let e = load(&bytes).unwrap_err();
        assert!(
            matches!(
                e.kind(),
                ErrorKind::BadInput | ErrorKind::Unsupported | ErrorKind::Limit
            ),
            "{e}"
        );
    }
    for depth in [8, 40, 400] {
        let mut all: Vec<Message> = (0..depth)
            .map(|k| call(&format!("f{k}"), &format!("own:f{}", k + 1), 2))
            .collect();
        all.push(call(&format!("f{depth}"), "Relu", 1));
        match load(&model(all)) {
            Ok(_) => assert_eq!(depth, 8),
            Err(e) => assert!(
                depth > 8
                    && matches!(
                        e.kind(),
                        ErrorKind::Limit | ErrorKind::Unsupported | ErrorKind::BadInput
                    ),
                "{e}"
            ),
        }
    }
}

#[test]
fn graphs_of_random_edges_have_no_cycle_that_loads() {
    let mut sweep = Sweep::default();
    let mut state = 7u64;
    let mut below = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for case in 0..3_000 {
        let nodes = 1 + below(6);
        let mut g = Graph::x_to_y();
        for _ in 0..nodes {
            // Names collide, dangle and run in circles.
            let names = ["x", "y", "a", "b", "c", "", "lost", "a"];
            let mut name = || names[below(8) as usize];
            let (p, q, out) = (name(), name(), name());
            g = g.node("Add", &[p, q], &[out], &[]);
        }
        if below(4) == 0 {
            g = g.input(value("a", 1, &[1])).output(value("c", 1, &[]));
        }
        sweep.case(|| format!("graph {case}"), &g.model(18));
    }
    sweep.end(3_000);
}

#[test]
fn a_hundred_thousand_nodes_load_and_one_more_is_a_limit() {
    let chain = |nodes: usize| {
        let mut g = Vec::new();
        for k in 0..nodes {
            let from = if k == 0 { "x".to_string() } else { format!("t{k}") };
            let to = if k + 1 == nodes {
                "y".to_string()
            } else {
                format!("t{}", k + 1)
            };
            let node = Message::default().message(1, proto::node("Exp", &[&from], &[&to], &[]));
            g.extend(node.0);
        }
        let mut all = Graph::x_to_y();
        all.0.0.extend(g);
        all.model(18)
    };
    let control = Control::default().with_time(std::time::Duration::from_secs(600));
    let options = LoadOptions {
        control,
        ..LoadOptions::default()
    };
    let model = Model::from_bytes(&chain(100_000), &options).unwrap();
    assert_eq!(model.graph().nodes.len(), 100_000);
    let e = Model::from_bytes(&chain(100_001), &options).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit, "{e}");
}
