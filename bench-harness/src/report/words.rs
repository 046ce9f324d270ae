use super::measured::Measured;

/// What was measured, in few words: what all points have in common, for the line below a figure's title.
pub(crate) fn measured(points: &[Measured]) -> String {
    let Some(first) = points.first() else { return String::new() };
    let same = |column: &str| {
        let value = first.facet(column);
        points
            .iter()
            .all(|point| point.facet(column) == value)
            .then_some(value)
            .filter(|value| !value.is_empty())
    };
    let mut words = Vec::new();
    words.extend(same("n").map(|n| format!("n = {n}")));
    if let (Some(auth), Some(client_auth)) = (same("auth"), same("client_auth")) {
        words.push(authenticated(auth, client_auth));
    }
    words.extend(
        same("bundle").filter(|bundle| *bundle == "1").map(|_| "each statement signed singly".to_owned()),
    );
    words
        .extend(same("replies").filter(|replies| *replies == "each").map(|_| "each reply signed".to_owned()));
    words.extend(same("presigned").map(|_| "requests presigned".to_owned()));
    words.extend(same("payload_bytes").map(|bytes| format!("{bytes} B operations")));
    words.extend(same("batch_max").map(|batch| format!("batches up to {batch}")));
    words.extend(
        same("workload")
            .filter(|workload| *workload != "null")
            .map(|workload| format!("workload {workload}")),
    );
    words.extend(same("fault").map(|fault| format!("fault: {fault}")));
    words.push(load(points, first));
    words.join("; ")
}

fn load(points: &[Measured], first: &Measured) -> String {
    let model = |point: &Measured| if point.load.model == "closed" { "closed loop" } else { "open loop" };
    if points.iter().all(|point| point.load == first.load) {
        return format!("{}, {}", model(first), first.load.brief());
    }
    if points.iter().all(|point| point.load.model == first.load.model) {
        return format!("{}, several loads", model(first));
    }
    "several loads".to_owned()
}

fn authenticated(auth: &str, client_auth: &str) -> String {
    match client_auth {
        "mac" => format!("{auth} between replicas, BLAKE3 tags for clients"),
        "signature" => format!("{auth} signatures on requests, statements and replies"),
        other => format!("{auth} between replicas, {other} for clients"),
    }
}

/// What was signed and checked by whom, in sentences: one text for each way the points were authenticated.
pub(crate) fn signed(points: &[Measured]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for point in points {
        let text = signed_by_whom(point);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn signed_by_whom(point: &Measured) -> String {
    let auth = point.facet("auth");
    let system = point.facet("system");
    let statements = match point.facet("bundle") {
        "1" => format!("Replicas sign each of their statements singly with {auth}, and check each other's."),
        bundle => format!(
            "Replicas sign their statements with {auth}, up to {bundle} under one signature, and check each other's."
        ),
    };
    let replies = match point.facet("replies") {
        "each" => "Every replica signs every reply singly.",
        _ => "Every replica signs its replies in groups, as leaves of one Merkle tree.",
    };
    let text = match point.facet("client_auth") {
        "mac" => format!(
            "{statements} Clients and replicas don't sign for each other: requests carry a BLAKE3 tag for each replica, replies one \
             tag a group."
        ),
        "signature" => format!(
            "Clients sign every request with {auth}, and every replica checks each of these signatures. {statements} {replies}"
        ),
        other => format!("{statements} Between clients and replicas: {other}."),
    };
    let presigned = match point.facet("presigned") {
        "" => "",
        _ => {
            " Requests were signed before the run, so making these signatures isn't in the generator's cost."
        }
    };
    let system = if system.is_empty() { String::new() } else { format!("{system}: ") };
    format!("{system}{text}{presigned}")
}

/// The name of a setting in the tables of the design: R, T or D where it is one of them.
pub(crate) fn setting(point: &Measured) -> String {
    let mut name = match (point.facet("auth"), point.facet("client_auth")) {
        ("rsa-2048", "signature") => "R".to_owned(),
        ("rsa-2048", "mac") => "T".to_owned(),
        ("ed25519", "mac") => "D".to_owned(),
        (auth, "signature") => format!("{auth}, clients too"),
        (auth, other) => format!("{auth}, clients: {other}"),
    };
    if point.facet("bundle") == "1" && point.facet("replies") == "each" {
        name.push_str(" as the paper");
    }
    if point.facet("n") != "4" {
        name.push_str(&format!(", n = {}", point.facet("n")));
    }
    if point.facet("payload_bytes") != "100" {
        name.push_str(&format!(", {} B", point.facet("payload_bytes")));
    }
    for column in ["system", "fault", "presigned"] {
        let value = point.facet(column);
        if !value.is_empty() {
            name.push_str(&format!(", {value}"));
        }
    }
    if !matches!(point.facet("workload"), "" | "null") {
        name.push_str(&format!(", {}", point.facet("workload")));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::groups::tests::folder;
    use crate::report::measured::tests::old_row;

    #[test]
    fn what_was_signed_by_whom_is_said_once_for_each_way() {
        let signature = old_row(1, 0, 1.0, "").replace("ed25519,mac,merkle,64", "rsa-2048,signature,each,1");
        let folder = folder(&[old_row(1, 0, 1.0, ""), signature, old_row(2, 0, 1.0, "")]);
        let texts = signed(&folder.points);
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("ed25519, up to 64") && texts[0].contains("BLAKE3 tag"), "{texts:?}");
        assert!(
            texts[1].contains("every replica checks") && texts[1].contains("every reply singly"),
            "{texts:?}"
        );
    }

    #[test]
    fn a_subtitle_says_only_what_holds_for_all_points() {
        let other = old_row(1, 0, 1.0, "").replace(",400,24,100,", ",10,24,1,");
        let text = measured(&folder(&[old_row(1, 0, 1.0, ""), other]).points);
        assert_eq!(
            text,
            "n = 4; ed25519 between replicas, BLAKE3 tags for clients; 100 B operations; closed loop, several loads"
        );
    }

    #[test]
    fn settings_have_the_names_of_the_design() {
        let points = folder(&[
            old_row(1, 0, 1.0, ""),
            old_row(1, 0, 1.0, "").replace("ed25519,mac,merkle,64", "rsa-2048,signature,each,1"),
            old_row(1, 0, 1.0, "").replace("0,4,1,ed25519", "0,7,1,rsa-2048"),
        ])
        .points;
        let names: Vec<String> = points.iter().map(setting).collect();
        assert_eq!(names, ["D", "R as the paper", "T, n = 7"]);
    }
}
