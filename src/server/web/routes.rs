//! The list of routes, each with what it needs.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};

use super::guard;
use crate::server::auth::Right;
use crate::server::state::Server;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: whoever asks.
    Anybody,
    /// A right; in the account that the path names, if it names one.
    Needs(Right),
    /// The token of an enrolled client (see `agent`), which the handler looks at.
    Client,
}

/// How a refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// In JSON.
    Api,
    /// As a page; who is not signed in is led to where that is done.
    Page,
}

/// A route that was declared, for the tests that try all of them.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// The method.
    pub(crate) method: Method,
    /// The path, with `{names}` for what varies.
    pub(crate) path: &'static str,
    /// What it needs.
    pub(crate) access: Access,
    /// Where it belongs.
    pub(crate) door: Door,
}

/// Routes, being gathered.
pub(crate) struct Routes {
    server: Arc<Server>,
    router: Router<Arc<Server>>,
    /// Those of files that clients store: large, slow, and compressed already.
    files: Router<Arc<Server>>,
    #[cfg(test)]
    declared: Vec<Declared>,
}

impl Routes {
    /// No routes yet.
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            router: Router::new(),
            files: Router::new(),
            #[cfg(test)]
            declared: Vec::new(),
        }
    }

    /// Adds a route.
    #[must_use]
    pub(crate) fn add<H, T>(
        mut self,
        door: Door,
        method: Method,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Server>>,
        T: 'static,
    {
        // GET answers HEAD too.
        let filter = match method {
            Method::GET => MethodFilter::GET,
            Method::PUT => MethodFilter::PUT,
            Method::PATCH => MethodFilter::PATCH,
            Method::DELETE => MethodFilter::DELETE,
            Method::HEAD => MethodFilter::HEAD,
            Method::OPTIONS => MethodFilter::OPTIONS,
            _ => MethodFilter::POST,
        };
        let guard = guard::Guard { server: self.server.clone(), access, door, streams: false };
        let guarded = on(filter, handler).layer(axum::middleware::from_fn_with_state(guard, guard::hold));
        self.router = self.router.route(path, guarded);
        #[cfg(test)]
        self.declared.push(Declared { method, path, access, door });
        self
    }

    /// Adds a route of the API.
    #[must_use]
    pub(crate) fn api<H, T>(self, method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Server>>,
        T: 'static,
    {
        self.add(Door::Api, method, path, access, handler)
    }

    /// Adds a page.
    #[must_use]
    pub(crate) fn page<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Server>>,
        T: 'static,
    {
        self.add(Door::Page, Method::GET, path, access, handler)
    }

    /// Adds what a form of a page is sent to.
    #[must_use]
    pub(crate) fn form<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<Server>>,
        T: 'static,
    {
        self.add(Door::Page, Method::POST, path, access, handler)
    }

    /// Adds what answers clients that store files, whatever the method.
    #[must_use]
    pub(crate) fn files<H, T>(mut self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Server>>,
        T: 'static,
    {
        let (access, door) = (Access::Client, Door::Api);
        let guard = guard::Guard { server: self.server.clone(), access, door, streams: true };
        let guarded = axum::routing::any(handler).layer(axum::middleware::from_fn_with_state(guard, guard::hold));
        self.files = self.files.route(path, guarded);
        #[cfg(test)]
        for method in
            ["PROPFIND", "GET", "PUT", "DELETE", "MOVE", "COPY", "PROPPATCH", "LOCK", "MKCOL", "POST", "PATCH"]
        {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            self.declared.push(Declared { method, path, access, door });
        }
        self
    }

    /// What was declared.
    #[cfg(test)]
    pub(crate) fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The routers, with a state: of pages and API, with an answer for what is not there; and of files.
    pub(crate) fn into_routers(self) -> (Router, Router) {
        let server = self.server.clone();
        let usual = self.router.fallback(crate::server::pages::not_found).with_state(server.clone());
        (usual, self.files.with_state(server))
    }
}
