//! From messages to the graph: names become values, nodes become operators.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::graph::{Graph, GraphError, Node, ValueId};
use crate::onnx::attributes::Attributes;
use crate::onnx::error::{Load, LoadError, quoted};
use crate::onnx::functions::{self, Call};
use crate::onnx::lift;
use crate::onnx::ops::{self, Context, Parsed};
use crate::onnx::packed;
use crate::onnx::proto::{Attribute, Dim, Function, GraphProto, Model, NodeProto, OpsetId, ValueInfo};
use crate::onnx::wire::Bytes;
use crate::onnx::{MAX_OPSET, MIN_OPSET, ReadOptions};

mod values;

/// The names visible to a list of nodes: the graph's own, or one function call's.
pub(crate) struct Scope<'a, 's> {
    /// `None` for a function's input that the caller left out.
    pub names: HashMap<&'a str, Option<ValueId>>,
    /// Values of the caller that a function's outputs write.
    pub results: HashMap<&'a str, ValueId>,
    /// Put before names of values and nodes, so that every inlined call has its own.
    pub prefix: String,
    /// What the caller gave for a function's attributes.
    pub attributes: &'s [Attribute<'a>],
    pub opsets: &'s [OpsetId<'a>],
    pub depth: usize,
}

impl Scope<'_, '_> {
    fn get(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied().flatten()
    }
}

/// A graph under construction.
pub(crate) struct Builder<'a, 'o> {
    pub graph: Graph,
    pub functions: HashMap<(&'a str, &'a str, &'a str), Function<'a>>,
    pub options: &'o ReadOptions<'o>,
    /// Bits of constants and inputs that the file declares as int4 or int2.
    pub narrow: HashMap<ValueId, u32>,
    /// Float constants that the file stores in 16 bits, and what a Cast made of them.
    pub halves: HashSet<ValueId>,
    /// Which node writes a value, for [`Builder::known_rank`].
    producers: HashMap<ValueId, usize>,
    /// Shapes of values computed from constants without changing their shape.
    shapes: HashMap<ValueId, Vec<usize>>,
    /// Bytes of all constants so far: a function may repeat one in every call.
    constant_bytes: usize,
    calls: usize,
}

pub(crate) fn read(bytes: &[u8], options: &ReadOptions<'_>) -> Load<Graph> {
    if bytes.len() as u64 > options.limits.model_bytes {
        let (have, most) = (bytes.len(), options.limits.model_bytes);
        return Err(LoadError::limit(format!(
            "the model has {have} bytes, the limit is {most}"
        )));
    }
    let model = Model::parse(bytes, &options.limits)?;
    let Some(message) = model.graph else {
        return Err(LoadError::bad("the file holds no graph")
            .help("is it an ONNX model, and was it downloaded completely?"));
    };
    packed::check(bytes, &model)?;
    let opsets = checked_opsets(&model)?;
    let proto = GraphProto::parse(message, &options.limits)?;
    if proto.sparse {
        return Err(LoadError::unsupported("sparse initializers are not supported")
            .help("export the model with dense weights"));
    }
    let mut functions = HashMap::new();
    for f in model.functions {
        let key = (f.domain, f.name, f.overload);
        if functions.insert(key, f).is_some() {
            return Err(LoadError::bad(format!(
                "function {} is defined twice",
                quoted(key.1)
            )));
        }
    }
    let mut graph = Graph::new(proto.name);
    graph.opset = version_of(&opsets, "").unwrap_or(1);
    for (key, value) in model
        .metadata
        .into_iter()
        .filter(|(key, _)| *key != packed::DIGEST_KEY)
    {
        if graph
            .metadata
            .insert(key.to_string(), value.to_string())
            .is_some()
        {
            return Err(LoadError::bad(format!("metadata {} is given twice", quoted(key))));
        }
    }
    let mut builder = Builder {
        graph,
        functions,
        options,
        narrow: HashMap::new(),
        halves: HashSet::new(),
        producers: HashMap::new(),
        shapes: HashMap::new(),
        constant_bytes: 0,
        calls: 0,
    };
    let mut scope = Scope {
        names: HashMap::with_capacity(proto.nodes.len() + proto.initializers.len()),
        results: HashMap::new(),
        prefix: String::new(),
        attributes: &[],
        opsets: &opsets,
        depth: 0,
    };
    builder.graph(&proto, &mut scope)?;
    let Builder {
        mut graph, narrow, ..
    } = builder;
    graph.sort().map_err(structure)?;
    graph.check().map_err(structure)?;
    lift::run(&mut graph, &narrow)?;
    Ok(graph)
}

fn structure(e: GraphError) -> LoadError {
    LoadError::bad(e.to_string())
}

/// The opset imports, with the default domain's present and in range.
fn checked_opsets<'a>(model: &Model<'a>) -> Load<Vec<OpsetId<'a>>> {
    let opsets = model.opsets.clone();
    match version_of(&opsets, "") {
        None => Err(LoadError::bad(format!(
            "the model (IR version {}) names no opset for the standard operators",
            model.ir_version
        ))),
        Some(v) if v < MIN_OPSET => Err(LoadError::unsupported(format!(
            "opset {v} is older than {MIN_OPSET}, the oldest that is read"
        ))
        .help("convert the model to a newer opset (onnx.version_converter)")),
        Some(v) if v > MAX_OPSET => Err(LoadError::unsupported(format!(
            "opset {v} is newer than {MAX_OPSET}, the newest that is known"
        ))
        .help("export the model with an older opset, or use a newer lowbit")),
        Some(_) => Ok(opsets),
    }
}

pub(crate) fn version_of(opsets: &[OpsetId<'_>], domain: &str) -> Option<i64> {
    opsets.iter().find(|o| o.domain == domain).map(|o| o.version)
}

impl<'a> Builder<'a, '_> {
    fn graph(&mut self, proto: &GraphProto<'a>, scope: &mut Scope<'a, '_>) -> Load<()> {
        for &message in &proto.initializers {
            let loaded = self.tensor(message)?;
            let name = self.options.limits.string(loaded.name)?;
            let id = self.define(name, scope).map_err(|e| e.at_byte(message.at))?;
            if loaded.bits == 16 && loaded.tensor.as_f32().is_some() {
                self.halves.insert(id);
            }
            self.set_constant(id, loaded.tensor, loaded.bits);
        }
        let mut unused: BTreeSet<&str> = self.options.dimensions.keys().map(String::as_str).collect();
        for &message in &proto.inputs {
            let info = ValueInfo::parse(message)?;
            // Older exporters list initializers among the inputs.
            if scope.get(info.name).is_some_and(|id| self.graph.is_constant(id)) {
                continue;
            }
            let id = self.define(info.name, scope).map_err(|e| e.at_byte(info.at))?;
            self.declare(id, &info, true, &mut unused)?;
            self.graph.inputs.push(id);
        }
        self.nodes(&proto.nodes, scope)?;
        for &message in &proto.outputs {
            let info = ValueInfo::parse(message)?;
            let Some(id) = scope.get(info.name) else {
                let name = quoted(info.name);
                return Err(LoadError::bad(format!("graph output {name} is never computed")).at_byte(info.at));
            };
            if !self.graph.inputs.contains(&id) {
                self.declare(id, &info, false, &mut unused)?;
            }
            self.graph.outputs.push(id);
        }
        if let Some(name) = unused.first() {
            let known: Vec<String> = proto
                .inputs
                .iter()
                .filter_map(|&m| ValueInfo::parse(m).ok())
                .filter(|i| {
                    scope
                        .get(i.name)
                        .is_some_and(|id| self.graph.inputs.contains(&id))
                })
                .map(|i| format!("{} {}", i.name, listed(&i.shape.unwrap_or_default())))
                .collect();
            return Err(
                LoadError::bad(format!("the model has no dimension {}", quoted(name)))
                    .help(format!("its inputs are {}", quoted(&known.join(", ")))),
            );
        }
        Ok(())
    }

    /// A list of nodes: first all names they write, so that order does not matter, then the nodes.
    pub(crate) fn nodes(&mut self, messages: &[Bytes<'a>], scope: &mut Scope<'a, '_>) -> Load<()> {
        for &message in messages {
            let node = NodeProto::parse(message, &self.options.limits)?;
            for &name in node.outputs.iter().filter(|n| !n.is_empty()) {
                self.define(name, scope)
                    .map_err(|e| self.place(e, &node, scope).at_byte(message.at))?;
            }
        }
        for &message in messages {
            let node = NodeProto::parse(message, &self.options.limits)?;
            self.node(node, scope).map_err(|e| e.at_byte(message.at))?;
        }
        Ok(())
    }

    fn place(&self, e: LoadError, node: &NodeProto<'a>, scope: &Scope<'a, '_>) -> LoadError {
        let opset = version_of(scope.opsets, node.domain).unwrap_or(1);
        e.at_node(&node_name(node, scope), node.op_type, opset)
    }

    fn node(&mut self, mut node: NodeProto<'a>, scope: &Scope<'a, '_>) -> Load<()> {
        let attributes = std::mem::take(&mut node.attributes);
        self.try_node(&node, attributes, scope)
            .map_err(|e| self.place(e, &node, scope))
    }

    fn try_node(
        &mut self,
        node: &NodeProto<'a>,
        list: Vec<Attribute<'a>>,
        scope: &Scope<'a, '_>,
    ) -> Load<()> {
        let list = functions::resolve_attributes(list, scope.attributes)?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &name in &node.inputs {
            inputs.push(match scope.names.get(name) {
                _ if name.is_empty() => None,
                Some(&id) => id,
                None => {
                    return Err(LoadError::bad(format!(
                        "input {} is neither a graph input, a constant nor an output of any node",
                        quoted(name)
                    )));
                }
            });
        }
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for &name in &node.outputs {
            match scope.get(name) {
                Some(id) => outputs.push(id),
                None => {
                    let name = format!("{}/unused", node_name(node, scope));
                    outputs.push(self.graph.add_value(&name, None, None));
                }
            }
        }
        // Trailing outputs that nobody can name are not asked for.
        while node.outputs.len() > 1 && outputs.len() > 1 && node.outputs.get(outputs.len() - 1) == Some(&"")
        {
            outputs.pop();
        }
        let opset = version_of(scope.opsets, node.domain);
        let call = Call {
            node,
            attributes: list,
            inputs,
            outputs,
        };
        if let Some(call) = functions::try_inline(self, call, scope)? {
            let packed = version_of(scope.opsets, packed::DOMAIN).is_some();
            if packed && packed::halves::fold(self, &call)? {
                return Ok(());
            }
            self.standard(call, opset, node_name(node, scope))?;
        }
        Ok(())
    }

    /// A node of a standard operator.
    fn standard(&mut self, call: Call<'a, '_>, opset: Option<i64>, name: String) -> Load<()> {
        let node = call.node;
        if let Some(a) = call.attributes.iter().find(|a| a.subgraph) {
            return Err(LoadError::unsupported(format!(
                "control flow is not supported (attribute {} holds a graph)",
                quoted(a.name)
            ))
            .help("export the model without If, Loop and Scan: fixed shapes, no data-dependent branches"));
        }
        let row = match node.domain {
            "" => ops::find(node.op_type),
            // Quantizers of 16 and 4 bits that onnxruntime writes before the standard has them.
            "com.microsoft" => ["QuantizeLinear", "DequantizeLinear", "Gelu"]
                .contains(&node.op_type)
                .then(|| ops::find(node.op_type))
                .flatten(),
            _ => None,
        };
        let Some(row) = row else {
            let domain = if node.domain.is_empty() {
                String::new()
            } else {
                format!(" of {}", quoted(node.domain))
            };
            let integer = node.op_type.starts_with("QLinear") || node.op_type.ends_with("Integer");
            return Err(LoadError::unsupported(format!(
                "operator {}{domain} is not supported",
                quoted(node.op_type)
            ))
            .help(if integer {
                "quantize the model in the QDQ format (quant_format=QuantFormat.QDQ), which is read"
            } else {
                "export the model without it, or cut the graph before it; `lowbit doctor` lists the operators"
            }));
        };
        let opset = match (node.domain, opset) {
            ("", Some(v)) => v,
            ("", None) => return Err(LoadError::bad("no opset is imported for the standard operators")),
            _ => MAX_OPSET,
        };
        row.check_arity(&call.inputs, call.outputs.len())?;
        let mut context = Context {
            name,
            attrs: Attributes::new(call.attributes)?,
            opset,
            inputs: call.inputs,
            outputs: call.outputs,
            builder: self,
        };
        let parsed = (row.read)(&mut context)?;
        context.attrs.finish()?;
        let (name, inputs, outputs) = (context.name, context.inputs, context.outputs);
        match parsed {
            Parsed::Constant => Ok(()),
            Parsed::Node(op) => self.push(Node {
                name,
                op,
                inputs,
                outputs,
            }),
        }
    }

    /// Gives a name of the file a value.
    fn define(&mut self, name: &'a str, scope: &mut Scope<'a, '_>) -> Load<ValueId> {
        if name.is_empty() {
            return Err(LoadError::bad("a value has no name"));
        }
        if scope.names.contains_key(name) {
            return Err(LoadError::bad(format!("value {} is defined twice", quoted(name))));
        }
        let id = match scope.results.get(name) {
            Some(&id) => id,
            None if scope.prefix.is_empty() => self.graph.add_value(name, None, None),
            None => self
                .graph
                .add_value(&format!("{}{name}", scope.prefix), None, None),
        };
        scope.names.insert(name, Some(id));
        Ok(id)
    }

    /// Appends a node, counting.
    pub(crate) fn push(&mut self, node: Node) -> Load<()> {
        if self.graph.nodes.len() >= self.options.limits.nodes {
            let most = self.options.limits.nodes;
            return Err(LoadError::limit(format!("the model has more than {most} nodes"))
                .help("raise the node limit when you trust the file"));
        }
        let index = self.graph.nodes.len();
        self.producers.extend(node.outputs.iter().map(|&v| (v, index)));
        self.graph.nodes.push(node);
        Ok(())
    }
    /// Counts a call of a function: a few of them can unfold to billions.
    pub(crate) fn count_call(&mut self) -> Load<()> {
        self.calls += 1;
        let most = self.options.limits.nodes;
        if self.calls > most {
            return Err(LoadError::limit(format!(
                "the model's functions unfold to more than {most} calls"
            )));
        }
        Ok(())
    }
}

/// The node's name, or one made from its first output.
fn node_name(node: &NodeProto<'_>, scope: &Scope<'_, '_>) -> String {
    let own = if node.name.is_empty() {
        let output = node.outputs.iter().find(|o| !o.is_empty());
        output.unwrap_or(&node.op_type)
    } else {
        node.name
    };
    format!("{}{own}", scope.prefix)
}

/// A declared shape as people write it: `[N, 3, 320, 320]`.
fn listed(shape: &[Dim<'_>]) -> String {
    let one = |dim: &Dim<'_>| match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Named(name) => (*name).to_string(),
        Dim::Unknown => "?".into(),
    };
    let dims: Vec<String> = shape.iter().map(one).collect();
    format!("[{}]", dims.join(", "))
}
