//! The order of received and added fields.

/// A member of the order. The numbers count received and added fields as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// Above the first and below the last.
    Ends,
    /// Where the next received field goes: what was appended stands below.
    Frontier,
    Received(u32),
    Added(u32),
}

impl Node {
    pub(super) fn received(at: usize) -> Self {
        Self::Received(number(at))
    }

    pub(super) fn added(at: usize) -> Self {
        Self::Added(number(at))
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("memory has no room for 2^32 header fields")
}

/// A ring through all nodes, so that a place next to any of them is found at once. Fields that are removed stay.
#[derive(Debug)]
pub(super) struct Order {
    ends: Links,
    frontier: Links,
    received: Vec<Links>,
    added: Vec<Links>,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    before: Node,
    after: Node,
}

impl Order {
    pub(super) fn new(received: usize) -> Self {
        let alone = |node| Links { before: node, after: node };
        let (ends, frontier) = (alone(Node::Frontier), alone(Node::Ends));
        let mut order = Self { ends, frontier, received: Vec::with_capacity(received), added: Vec::new() };
        (0..received).for_each(|_| order.push_received());
        order
    }

    pub(super) fn after(&self, node: Node) -> Node {
        self.links(node).after
    }

    pub(super) fn before(&self, node: Node) -> Node {
        self.links(node).before
    }

    pub(super) fn push_received(&mut self) {
        let node = Node::received(self.received.len());
        let links = self.link(node, Node::Frontier);
        self.received.push(links);
    }

    /// Makes a node for another added field, above `place`.
    pub(super) fn add(&mut self, place: Node) -> Node {
        let node = Node::added(self.added.len());
        let links = self.link(node, place);
        self.added.push(links);
        node
    }

    /// Takes the node that was added last out again.
    pub(super) fn unadd(&mut self) {
        if let Some(Links { before, after }) = self.added.pop() {
            self.links_mut(before).after = after;
            self.links_mut(after).before = before;
        }
    }

    fn link(&mut self, node: Node, place: Node) -> Links {
        let before = std::mem::replace(&mut self.links_mut(place).before, node);
        self.links_mut(before).after = node;
        Links { before, after: place }
    }

    fn links(&self, node: Node) -> Links {
        match node {
            Node::Ends => self.ends,
            Node::Frontier => self.frontier,
            Node::Received(at) => self.received[at as usize],
            Node::Added(at) => self.added[at as usize],
        }
    }

    fn links_mut(&mut self, node: Node) -> &mut Links {
        match node {
            Node::Ends => &mut self.ends,
            Node::Frontier => &mut self.frontier,
            Node::Received(at) => &mut self.received[at as usize],
            Node::Added(at) => &mut self.added[at as usize],
        }
    }
}
