//! Stock kernels, real attacks: every scenario on every kernel with every way to attach, one boot for each combination.
//!
//! Rows are those of the project's list of evasions.

mod basics;
mod benign;
mod blind;
mod callers;
mod cgroups;
mod check;
mod containers;
mod directories;
mod expected;
mod fuse;
mod inventory;
mod lifecycle;
mod links;
mod loss;
mod outcomes;
mod paths;
mod processes;
mod refused;
mod reload;
mod roots;
mod rules;
mod sources;
mod trust;

use std::process::ExitCode;
use std::sync::Arc;

use integration_tests::{Boot, Scenario};
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::lab::{Attach, Series};

fn scenarios() -> Vec<Scenario> {
    [
        basics::scenarios(),
        outcomes::scenarios(),
        paths::scenarios(),
        processes::scenarios(),
        benign::scenarios(),
        callers::scenarios(),
        containers::scenarios(),
        roots::scenarios(),
        directories::scenarios(),
        links::scenarios(),
        loss::scenarios(),
        check::scenarios(),
        fuse::scenarios(),
        inventory::scenarios(),
        lifecycle::scenarios(),
        blind::scenarios(),
        reload::scenarios(),
        refused::scenarios(),
        rules::scenarios(),
        sources::scenarios(),
        cgroups::scenarios(),
        trust::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let combinations = Series::ALL
        .into_iter()
        .flat_map(|series| [Attach::Fentry, Attach::Kprobe].map(|attach| Boot::new(series, attach)));
    let mut boots: Vec<Boot> = combinations.collect();
    let scenarios: Vec<Arc<Scenario>> = scenarios().into_iter().map(Arc::new).collect();
    let wanted = |name: &str| !arguments.is_filtered_out(&Trial::test(name, || Ok(())));
    for boot in &mut boots {
        for scenario in &scenarios {
            if wanted(&format!("{}/{}", boot.name(), scenario.name())) {
                boot.add(Arc::clone(scenario));
            }
        }
    }
    let boots: Vec<Arc<Boot>> = boots.into_iter().map(Arc::new).collect();

    // Scenario by scenario and not boot by boot: so the test threads boot different kernels.
    let mut trials = Vec::new();
    for scenario in &scenarios {
        for boot in &boots {
            let (boot, scenario) = (Arc::clone(boot), Arc::clone(scenario));
            let name = format!("{}/{}", boot.name(), scenario.name());
            trials.push(Trial::test(name, move || boot.verify(&scenario).map_err(|error| failed(&error))));
        }
    }
    for boot in boots {
        trials.push(Trial::test(format!("{}/daemon", boot.name()), move || {
            boot.verify_daemon().map_err(|error| failed(&error))
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
