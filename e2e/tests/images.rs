//! Images from files, on real nodes: one command hands them to all, and nobody else may.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Server, data_dir},
    kubernetes::Api,
    node::Node,
};
use serde_json::{Value, json};

const IMAGES: &str = "/atoll/v1/images";

/// A tar of some files (POSIX.1-1988, "ustar").
fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[108..115].copy_from_slice(b"0000000");
        head[116..123].copy_from_slice(b"0000000");
        head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        head[136..147].copy_from_slice(b"00000000000");
        head[148..156].copy_from_slice(b"        ");
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&head);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// What `docker save` would write of an image without layers.
fn saved(folder: &Path, name: &str) -> PathBuf {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "os": "linux", "architecture": architecture, "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": []}]);
    let path = folder.join("saved.tar");
    let files = [
        ("config.json", config.to_string().into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
    ];
    std::fs::write(&path, tar(&files)).unwrap();
    path
}

fn image(node: &Node, words: &[&str]) -> Output {
    let mut command = node.server().command();
    command.arg("image").args(words).arg("--output").arg("json");
    command.arg("--dir").arg(data_dir(node.layout()));
    command.output().unwrap()
}

fn listed(node: &Node) -> Value {
    let output = image(node, &["list"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn an_image_is_handed_to_all_nodes() {
    let cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = saved(scratch.path(), "app:1").display().to_string();
    let node = &cluster.nodes[0];
    let mut api = Api::of(node);
    // All of them run pods.
    let wanted = |nodes: &Value| {
        let ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        nodes["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(ready)
            .count()
            == 3
    };
    common::until("three nodes that run pods", async || {
        wanted(&api.get("/api/v1/nodes").await.json()).then_some(())
    })
    .await;
    let imported = image(node, &["import", &file]);
    let errors = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success(), "{errors}");
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    let nodes = imported["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{imported}");
    for on in nodes {
        let image = &on["images"][0];
        assert_eq!(image["names"], json!(["docker.io/library/app:1"]), "{on}");
        assert_eq!(
            (&image["imported"], &image["used"]),
            (&json!(true), &json!(false))
        );
    }
    assert_eq!(listed(node), imported, "and so they say");
    let one = nodes[1]["node"].as_str().unwrap();
    let removed = image(node, &["remove", "app:1", "--node", one]);
    assert!(removed.status.success());
    let left = listed(&cluster.nodes[2]);
    let left = left["nodes"].as_array().unwrap().iter();
    let left = left.filter(|on| on["images"].is_array());
    assert_eq!(left.count(), 2);

    let listed = api.get(&format!("{IMAGES}?node={one}")).await;
    assert_eq!((listed.status, listed.json()), (200, json!({"images": []})));
    let missing = api.get(&format!("{IMAGES}?node=nobody")).await;
    assert_eq!(missing.status, 404, "{}", missing.body);
    let wrong = api.post(&format!("{IMAGES}?node={one}"), &json!({})).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
    assert!(
        wrong.body.contains("the archive can't be read"),
        "{}",
        wrong.body
    );
    let unnamed = api.delete(IMAGES).await;
    assert_eq!(unnamed.status, 400, "{}", unnamed.body);
    let mut nobody = api.without_credential();
    assert_eq!(nobody.get(IMAGES).await.status, 401);
    assert_eq!(nobody.post(IMAGES, &json!({})).await.status, 401);
}
