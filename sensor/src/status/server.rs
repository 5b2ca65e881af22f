//! `/metrics`, `/healthz` and `/readyz` over HTTP, on a thread of its own: it answers when the pipeline does not.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::Health;
use crate::metrics::{self, Metrics};

/// How long a client may take for its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The server does not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {error}; free the port, or correct metrics.listen")]
pub struct ServerError {
    address: SocketAddr,
    error: io::Error,
}

/// The server. It answers once it is started, and then as long as the process runs.
#[derive(Debug)]
pub struct StatusServer {
    /// Where it listens: the port that was asked for, or the one that it got.
    pub address: SocketAddr,
    listener: TcpListener,
}

impl StatusServer {
    /// Listens on `address`: that can take privileges which answering does not.
    pub fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failure = |error| ServerError { address, error };
        let listener = TcpListener::bind(address).map_err(failure)?;
        listener.set_nonblocking(true).map_err(failure)?;
        let address = listener.local_addr().map_err(failure)?;
        Ok(Self { address, listener })
    }

    /// Answers.
    pub fn start(self, health: &Health, metrics: &Metrics) -> Result<(), ServerError> {
        let Self { address, listener } = self;
        let failure = |error| ServerError { address, error };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failure)?;
        let (health, metrics) = (health.clone(), metrics.clone());
        let serve = move || runtime.block_on(serve(listener, health, metrics));
        thread::Builder::new().name("status".to_owned()).spawn(serve).map_err(failure)?;
        Ok(())
    }
}

async fn serve(listener: TcpListener, health: Health, metrics: Metrics) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot serve metrics: {error}"),
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot take a connection for metrics: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &health, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // The client may go at any time.
            let _ = connection.await;
        });
    }
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let text = "text/plain; charset=utf-8";
    let verdict = |obstacle: Option<String>| match obstacle {
        None => (StatusCode::OK, text, "ok\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, text, obstacle + "\n"),
    };
    let (status, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, metrics::CONTENT_TYPE, metrics.to_openmetrics())
        }
        (&Method::GET | &Method::HEAD, "/healthz") => verdict(health.ailment(Instant::now())),
        (&Method::GET | &Method::HEAD, "/readyz") => verdict(health.obstacle(Instant::now())),
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, text, "there are /metrics, /healthz and /readyz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, text, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_learns_how_the_daemon_is() {
        let (health, metrics) = (Health::default(), Metrics::default());
        let server = StatusServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.address;
        server.start(&health, &metrics).unwrap();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let get = |path: &str| {
            let mut response = agent.get(format!("http://{address}{path}")).call().unwrap();
            let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
            (response.status().as_u16(), kind, response.body_mut().read_to_string().unwrap())
        };
        let text = "text/plain; charset=utf-8".to_owned();
        assert_eq!(get("/healthz"), (200, text.clone(), "ok\n".to_owned()));
        assert_eq!(get("/readyz"), (503, text.clone(), "the host is not watched\n".to_owned()));
        health.set_watching(true);
        assert_eq!(get("/readyz"), (200, text, "ok\n".to_owned()));
        assert_eq!(get("/").0, 404);
        metrics.alerts("rule").increment();
        let (status, kind, body) = get("/metrics");
        assert_eq!((status, kind.as_str()), (200, metrics::CONTENT_TYPE));
        assert!(body.contains("ldsentry_alerts_total{rule_id=\"rule\"} 1\n"), "{body}");
        let taken = StatusServer::bind(address).unwrap_err().to_string();
        assert!(
            taken.contains("Address already in use") && taken.ends_with("or correct metrics.listen"),
            "{taken}"
        );
    }
}
