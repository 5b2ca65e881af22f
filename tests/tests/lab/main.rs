//! Stock kernels, real attacks: every scenario on every kernel with every way to attach, one boot for each combination.
//!
//! Rows are those of the project's list of evasions.

mod arm64;
mod basics;
mod benign;
mod blind;
mod callers;
mod cgroups;
mod check;
mod containers;
mod coverage;
mod directories;
mod expected;
mod fuse;
mod in_place;
mod inventory;
mod lifecycle;
mod links;
mod loader;
mod loss;
mod outcomes;
mod paths;
mod pins;
mod processes;
mod refused;
mod reload;
mod roots;
mod rows;
mod rules;
mod sandbox;
mod sources;
mod trust;

use std::process::ExitCode;
use std::sync::Arc;

use integration_tests::{Boot, Scenario};
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::architecture::Architecture;
use xtask::lab::{Attach, Series};

use crate::coverage::Coverage;

fn scenarios() -> Vec<Scenario> {
    [
        basics::scenarios(),
        outcomes::scenarios(),
        paths::scenarios(),
        processes::scenarios(),
        benign::scenarios().into_iter().map(Scenario::with_changes_in_place).collect(),
        callers::scenarios(),
        containers::scenarios().into_iter().map(Scenario::with_changes_in_place).collect(),
        roots::scenarios(),
        directories::scenarios(),
        links::scenarios(),
        in_place::scenarios(),
        loader::scenarios(),
        loss::scenarios(),
        check::scenarios(),
        fuse::scenarios(),
        inventory::scenarios(),
        lifecycle::scenarios(),
        blind::scenarios(),
        pins::scenarios(),
        reload::scenarios(),
        refused::scenarios(),
        rules::scenarios(),
        sandbox::scenarios(),
        sources::scenarios(),
        cgroups::scenarios(),
        trust::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn boots() -> Vec<Boot> {
    let mut boots = Vec::new();
    for series in Series::ALL {
        for attach in [Attach::Fentry, Attach::Kprobe] {
            boots.push(Boot::new(Architecture::Amd64, series, attach));
        }
    }
    boots.extend(arm64::boots());
    boots
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut boots = boots();
    let scenarios: Vec<Arc<Scenario>> = scenarios().into_iter().map(Arc::new).collect();
    let wanted = |name: &str| !arguments.is_filtered_out(&Trial::test(name, || Ok(())));
    for boot in &mut boots {
        for scenario in &scenarios {
            if arm64::runs(boot, scenario) && wanted(&format!("{}/{}", boot.name(), scenario.name())) {
                boot.add(Arc::clone(scenario));
            }
        }
    }
    let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name().to_owned()).collect();
    let covering = boots.iter().filter(|boot| boot.architecture() == Architecture::Amd64);
    let boot_names: Vec<String> = covering.map(Boot::name).collect();
    let coverage = Arc::new(Coverage::default());
    let boots: Vec<Arc<Boot>> = boots.into_iter().map(Arc::new).collect();

    // Scenario by scenario and not boot by boot: so the test threads boot different kernels.
    let mut trials = Vec::new();
    for scenario in &scenarios {
        for boot in boots.iter().filter(|boot| arm64::runs(boot, scenario)) {
            let (boot, scenario, coverage) = (Arc::clone(boot), Arc::clone(scenario), Arc::clone(&coverage));
            let name = format!("{}/{}", boot.name(), scenario.name());
            trials.push(Trial::test(name, move || {
                let result = boot.verify(&scenario);
                coverage.note(scenario.name(), &boot.name(), result.is_ok());
                result.map_err(|error| failed(&error))
            }));
        }
    }
    for boot in boots {
        trials.push(Trial::test(format!("{}/daemon", boot.name()), move || {
            boot.verify_daemon().map_err(|error| failed(&error))
        }));
    }
    let (all, every_boot) = (names.clone(), boot_names.clone());
    trials.push(Trial::test("coverage", move || {
        coverage::check(&all, &every_boot).map_err(|error| failed(&error))
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = coverage.write(&names, &boot_names) {
        xtask::command::complain(&format!("{error:#}"));
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}
