//! From the tree to the model: global_defs first, then what is tracked, then who tracks it.

use weir_model::Micros;
use weir_model::vrrp::{Delivery, GarpGroup, Instance, StaticGroup, TrackScript, Vrrp};
use weir_syntax::keepalived::{Parsed, Settings, Statement, Tree};
use weir_syntax::{Diagnostic, Severity, Span};

use crate::draft::{Draft, ScriptDraft};
use crate::global::Defaults;
use crate::group::GroupDraft;
use crate::keyword::{Action, Blocks, Keyword, Shape};
use crate::line::Line;
use crate::order::Order;
use crate::scope::{Environment, Kind, Scope, Tracker};
use crate::{catalogue, complete, group, tracker};

/// A configuration that can be run.
#[derive(Debug)]
pub struct Loaded {
    pub vrrp: Vrrp,
    pub tree: Tree,
    /// In the order of reading: what keepalived logs and goes on after, and what would surprise.
    pub warnings: Vec<Diagnostic>,
    /// There are `virtual_server` blocks, which have no effect yet.
    pub has_virtual_servers: bool,
}

/// Why a configuration cannot be run.
#[derive(Debug)]
pub struct Failure {
    /// Errors and warnings in the order of reading.
    pub diagnostics: Vec<Diagnostic>,
    /// What could be read; its files are what the diagnostics' spans point into.
    pub tree: Tree,
}

impl Failure {
    /// The first error in the order of reading.
    #[must_use]
    pub fn first(&self) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first() {
            Some(error) => f.write_str(&error.nginx_line(&self.tree.files)),
            None => f.write_str("the configuration has no error"),
        }
    }
}

impl std::error::Error for Failure {}

/// Reads the main file with all it includes and lowers it.
///
/// # Errors
/// Everything that makes the files unusable, as far as it can be told in one go. What keepalived logs and goes on
/// after is a warning.
pub fn load(path: &str, settings: &Settings, env: &dyn Environment) -> Result<Loaded, Box<Failure>> {
    lower(weir_syntax::keepalived::parse(path, settings, env), env)
}

/// Lowers what was read.
///
/// # Errors
/// As for [`load`].
pub fn lower(parsed: Parsed, env: &dyn Environment) -> Result<Loaded, Box<Failure>> {
    let Parsed { tree, diagnostics } = parsed;
    let mut scope = Scope::new(env);
    let mut has_virtual_servers = false;
    let vrrp = root(&tree.items, &mut has_virtual_servers, &mut scope);
    let mut found = scope.notes;
    // keepalived goes on after every mistake of the grammar, but not without a file.
    let unread = tree.files.is_empty();
    found.extend(diagnostics.into_iter().map(|diagnostic| match unread {
        true => diagnostic,
        false => Diagnostic { severity: Severity::Warning, ..diagnostic },
    }));
    Order::of(&tree).sort(&mut found);
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Box::new(Failure { diagnostics: found, tree }));
    }
    Ok(Loaded { vrrp, tree, warnings: found, has_virtual_servers })
}

/// A statement of the root, what it means, and which one it is.
struct Item<'a> {
    statement: &'a Statement,
    keyword: &'static Keyword,
    position: usize,
}

impl Item<'_> {
    fn opens(&self, block: Blocks) -> bool {
        matches!(self.keyword.shape, Shape::Block { opens, .. } if opens == block)
            && matches!(self.keyword.action, Action::Block)
    }

    fn name(&self) -> &str {
        self.statement.args.first().map_or("", |word| word.text.as_str())
    }

    fn lines(&self) -> &[Statement] {
        self.statement.block.as_deref().unwrap_or_default()
    }
}

fn root(statements: &[Statement], has_virtual_servers: &mut bool, scope: &mut Scope<'_>) -> Vrrp {
    let mut items = Vec::new();
    for (position, statement) in statements.iter().enumerate() {
        *has_virtual_servers |= statement.name.text == "virtual_server";
        if let Some(keyword) = catalogue::find(statement, Blocks::ROOT, scope) {
            items.push(Item { statement, keyword, position });
        }
    }
    globals(&items, scope);
    let mut vrrp = Vrrp::default();
    trackers(&items, &mut vrrp, scope);
    lines(&items, &mut vrrp, scope);
    routers(&items, &mut vrrp, scope);
    members(&items, &mut vrrp, scope);
    unused(&items, &mut vrrp, scope);
    vrrp.globals = std::mem::take(&mut scope.defaults.globals);
    vrrp
}

/// Applies the lines of a block; what has no effect is said here.
fn run<'a>(
    statements: &'a [Statement],
    block: Blocks,
    scope: &mut Scope<'_>,
    apply: &mut dyn FnMut(Action, &Line<'a>, &mut Scope<'_>),
) {
    for statement in statements {
        let Some(keyword) = catalogue::find(statement, block, scope) else { continue };
        match (keyword.action, keyword.shape) {
            (Action::Silent(_), _) => {}
            (Action::WithoutEffect(_) | Action::Later(_), _) => inert(statement, keyword, scope),
            (Action::Block, Shape::Block { opens, .. }) => {
                apply(Action::Block, &Line::new(statement), scope);
                run(statement.block.as_deref().unwrap_or_default(), opens, scope, apply);
            }
            (action, _) => apply(action, &Line::new(statement), scope),
        }
    }
}

/// Says once of a line or block that it has no effect, and of the words in it what is misspelt.
fn inert(statement: &Statement, keyword: &Keyword, scope: &mut Scope<'_>) {
    let name = keyword.name;
    let message = match (keyword.action, keyword.shape) {
        (Action::Later(reason), Shape::Block { .. } | Shape::List) => {
            format!("{name}: {reason}; the block is read and has no effect")
        }
        (Action::Later(reason), _) => format!("{name}: {reason}; the line is read and has no effect"),
        (Action::WithoutEffect(reason), _) => format!("{name} has no effect: {reason}"),
        _ => return,
    };
    scope.warn(statement.name.span, message);
    if let Shape::Block { opens, .. } = keyword.shape {
        spelling(statement.block.as_deref().unwrap_or_default(), opens, scope);
    }
}

fn spelling(statements: &[Statement], block: Blocks, scope: &mut Scope<'_>) {
    if block == Blocks::NONE {
        return;
    }
    for statement in statements {
        let Some(keyword) = catalogue::find(statement, block, scope) else { continue };
        if let Shape::Block { opens, .. } = keyword.shape {
            spelling(statement.block.as_deref().unwrap_or_default(), opens, scope);
        }
    }
}

/// Keywords that keepalived copies into an instance when its block opens.
const COPIED: &[&str] = &[
    "vrrp_garp_master_delay",
    "vrrp_garp_master_repeat",
    "vrrp_garp_master_refresh",
    "vrrp_garp_master_refresh_repeat",
    "vrrp_min_garp",
    "vrrp_down_timer_adverts",
    "vrrp_skip_check_adv_addr",
    "v3_checksum_as_v2",
];

fn globals(items: &[Item<'_>], scope: &mut Scope<'_>) {
    let first = items.iter().find(|item| item.opens(Blocks::INSTANCE)).map(|item| item.position);
    let mut defaults = Defaults::default();
    for item in items.iter().filter(|item| item.opens(Blocks::GLOBAL)) {
        run(item.lines(), Blocks::GLOBAL, scope, &mut |action, line, scope| {
            if first.is_some_and(|first| first < item.position) && COPIED.contains(&line.name()) {
                let message = format!(
                    "keepalived would not use {} for the instances above it; Weir uses it for all",
                    line.name()
                );
                scope.advise(line.span(), message, "move global_defs up");
            }
            if let Action::Global(apply) = action {
                apply(&mut defaults, line, scope);
            }
        });
    }
    defaults.complete();
    scope.defaults = defaults;
}

/// Makes a name known to those who track it; false when it is taken.
fn define(item: &Item<'_>, kind: Kind, weight: i32, reverse: bool, scope: &mut Scope<'_>) -> bool {
    let key = (kind, item.name().to_owned());
    if scope.trackers.contains_key(&key) {
        let message = format!("{} {} is defined before; this one is ignored", item.keyword.name, item.name());
        scope.warn(item.statement.span, message);
        return false;
    }
    scope.trackers.insert(key, Tracker { weight, reverse, position: item.position });
    true
}

fn lacks(item: &Item<'_>, what: &str, scope: &mut Scope<'_>) {
    let message = format!("{} {} has no {what}; it is ignored", item.keyword.name, item.name());
    scope.advise(item.statement.span, message, format!("add a line with the keyword {what}"));
}

fn trackers(items: &[Item<'_>], vrrp: &mut Vrrp, scope: &mut Scope<'_>) {
    for item in items {
        if item.opens(Blocks::SCRIPT) {
            vrrp.scripts.extend(script(item, scope));
        } else if item.opens(Blocks::PROCESS) {
            let mut track = tracker::new_process(item.name());
            run(item.lines(), Blocks::PROCESS, scope, &mut |action, line, scope| {
                if let Action::Process(apply) = action {
                    apply(&mut track, line, scope);
                }
            });
            if track.process.is_empty() {
                lacks(item, "process", scope);
            } else if define(item, Kind::Process, track.weight, track.reverse, scope) {
                vrrp.processes.push(track);
            }
        } else if item.opens(Blocks::FILE) {
            let mut track = tracker::new_file(item.name());
            run(item.lines(), Blocks::FILE, scope, &mut |action, line, scope| {
                if let Action::File(apply) = action {
                    apply(&mut track, line, scope);
                }
            });
            if track.path.is_empty() {
                lacks(item, "file", scope);
            } else if define(item, Kind::File, track.weight, track.reverse, scope) {
                vrrp.files.push(track);
            }
        }
    }
}

fn script(item: &Item<'_>, scope: &mut Scope<'_>) -> Option<TrackScript> {
    let mut draft = ScriptDraft::new(item.name());
    run(item.lines(), Blocks::SCRIPT, scope, &mut |action, line, scope| {
        if let Action::Script(apply) = action {
            apply(&mut draft, line, scope);
        }
    });
    let ScriptDraft { mut script, timeout, user } = draft;
    if script.script.argv.is_empty() {
        lacks(item, "script", scope);
        return None;
    }
    script.script.user = user;
    script.timeout = timeout.unwrap_or(script.interval);
    define(item, Kind::Script, script.weight, script.reverse, scope).then_some(script)
}

/// Groups of static entries and of interfaces, then the lists and lines of the root.
fn lines(items: &[Item<'_>], vrrp: &mut Vrrp, scope: &mut Scope<'_>) {
    for item in items {
        if item.opens(Blocks::STATIC_GROUP) {
            let mut group = StaticGroup { name: item.name().to_owned(), ..StaticGroup::default() };
            run(item.lines(), Blocks::STATIC_GROUP, scope, &mut |action, line, scope| {
                if let Action::StaticGroup(apply) = action {
                    apply(&mut group, line, scope);
                }
            });
            if define(item, Kind::StaticGroup, 0, false, scope) {
                vrrp.static_groups.push(group);
            }
        } else if item.opens(Blocks::GARP_GROUP) {
            let mut group =
                GarpGroup { interfaces: Vec::new(), interval: Micros(0), gna_interval: Micros(0) };
            run(item.lines(), Blocks::GARP_GROUP, scope, &mut |action, line, scope| {
                if let Action::GarpGroup(apply) = action {
                    apply(&mut group, line, scope);
                }
            });
            vrrp.garp_groups.push(group);
        }
    }
    for item in items {
        scope.position = item.position;
        match item.keyword.action {
            Action::Root(apply) => apply(vrrp, &Line::new(item.statement), scope),
            Action::WithoutEffect(_) | Action::Later(_) => inert(item.statement, item.keyword, scope),
            _ => {}
        }
    }
}

fn routers(items: &[Item<'_>], vrrp: &mut Vrrp, scope: &mut Scope<'_>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut groups: Vec<GroupDraft> = Vec::new();
    for item in items {
        scope.position = item.position;
        if item.opens(Blocks::INSTANCE) {
            if drafts.iter().any(|draft| draft.instance.name == item.name()) {
                let message = format!("vrrp_instance {} is defined before; this one is ignored", item.name());
                scope.warn(item.statement.span, message);
            } else {
                drafts.push(instance(item, scope));
            }
        } else if item.opens(Blocks::GROUP) {
            if groups.iter().any(|draft| draft.group.name == item.name()) {
                let message =
                    format!("vrrp_sync_group {} is defined before; this one is ignored", item.name());
                scope.warn(item.statement.span, message);
            } else {
                groups.push(sync_group(item, scope));
            }
        }
    }
    let mut usable: Vec<bool> = Vec::new();
    for draft in &mut drafts {
        usable.push(complete::complete(draft, scope));
    }
    conflicts(&mut drafts, &usable, scope);
    vrrp.groups = group::complete(groups, &mut drafts, scope);
    vrrp.instances = drafts.into_iter().map(|draft| draft.instance).collect();
}

fn instance(item: &Item<'_>, scope: &mut Scope<'_>) -> Draft {
    let mut draft = Draft::new(item.name(), item.statement.span, scope);
    run(item.lines(), Blocks::INSTANCE, scope, &mut |action, line, scope| {
        draft.met(line);
        if let Action::Instance(apply) = action {
            apply(&mut draft, line, scope);
        }
    });
    draft
}

fn sync_group(item: &Item<'_>, scope: &mut Scope<'_>) -> GroupDraft {
    let mut draft = GroupDraft::new(item.name(), item.statement.span);
    run(item.lines(), Blocks::GROUP, scope, &mut |action, line, scope| {
        if let Action::Group(apply) = action {
            apply(&mut draft, line, scope);
        }
    });
    draft
}

/// Two routers of one number cannot be told apart on one interface and family.
fn conflicts(drafts: &mut [Draft], usable: &[bool], scope: &mut Scope<'_>) {
    let mut names: Vec<(String, Span)> = Vec::new();
    for (i, (draft, _)) in drafts.iter().zip(usable).enumerate().filter(|(_, (_, usable))| **usable) {
        let earlier =
            drafts.iter().zip(usable).take(i).filter(|(_, usable)| **usable).map(|(draft, _)| draft);
        if let Some(other) = earlier.into_iter().find(|other| clash(&draft.instance, &other.instance)) {
            let Instance { name, vrid, interface, .. } = &draft.instance;
            let message = format!("{name} and {} both use VRID {vrid} on {interface}", other.instance.name);
            let help = "a virtual_router_id is unique on an interface and family";
            scope.error(draft.at("virtual_router_id"), message, help);
        }
    }
    for draft in drafts {
        let at = draft.at("use_vmac");
        let Some(vmac) = &mut draft.instance.vmac else { continue };
        let Some(name) = vmac.name.clone() else { continue };
        if names.iter().any(|(other, _)| *other == name) {
            scope.warn(at, format!("another instance has the interface {name}; the name is ignored"));
            vmac.name = None;
        } else {
            names.push((name, at));
        }
    }
}

fn clash(one: &Instance, other: &Instance) -> bool {
    if (one.vrid, one.family, &one.interface) != (other.vrid, other.family, &other.interface) {
        return false;
    }
    match (&one.delivery, &other.delivery) {
        (Delivery::Multicast(one), Delivery::Multicast(other)) => one == other,
        (Delivery::Unicast(a), Delivery::Unicast(b)) => {
            let peers = |address| b.peers.iter().any(|peer| peer.address == address);
            one.source == other.source && a.peers.iter().any(|peer| peers(peer.address))
        }
        _ => false,
    }
}

/// Leaves the members of static groups out that do not exist.
fn members(items: &[Item<'_>], vrrp: &mut Vrrp, scope: &mut Scope<'_>) {
    let Vrrp { instances, static_groups, .. } = vrrp;
    for group in static_groups {
        let item = items.iter().find(|item| item.opens(Blocks::STATIC_GROUP) && item.name() == group.name);
        let span = item.map_or_else(Span::default, |item| item.statement.span);
        group.members.retain(|member| {
            let known = instances.iter().any(|instance| instance.name == *member);
            if !known {
                scope.warn(span, format!("no instance has the name {member:?}; it is ignored"));
            }
            known
        });
    }
}

/// Takes scripts out that nobody tracks: keepalived does not run them either.
fn unused(items: &[Item<'_>], vrrp: &mut Vrrp, scope: &mut Scope<'_>) {
    let Vrrp { instances, groups, scripts, .. } = vrrp;
    let mut tracks =
        instances.iter().map(|one| &one.track_scripts).chain(groups.iter().map(|one| &one.track_scripts));
    let used: Vec<_> = tracks.by_ref().flatten().map(|track| track.name.as_str()).collect();
    scripts.retain(|script| {
        let is_used = used.contains(&script.name.as_str());
        if !is_used {
            let item = items.iter().find(|item| item.opens(Blocks::SCRIPT) && item.name() == script.name);
            let span = item.map_or_else(Span::default, |item| item.statement.span);
            scope.warn(span, format!("vrrp_script {} is tracked by nobody and not run", script.name));
        }
        is_used
    });
}
